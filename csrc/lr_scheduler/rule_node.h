#pragma once

#include <stepsize/lr_scheduler/lr_rule.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "csrc/core/named_options.h"

namespace stepsize::detail {

/// What an LRRule holds: immutable, shared, used from several threads.
class LRRuleNode {
 public:
  explicit LRRuleNode(NamedOptions options)
      : options_(std::move(options)), text_(options_.text()) {}
  LRRuleNode(const LRRuleNode&) = delete;
  LRRuleNode& operator=(const LRRuleNode&) = delete;
  virtual ~LRRuleNode() = default;

  virtual GroupRate at(const LRGroup& group, double t) const = 0;
  virtual double length() const = 0;
  virtual void check_group_count(int64_t groups) const = 0;
  virtual bool uses_base_lr() const { return true; }
  virtual const MomentumAccess* momentum_access() const { return nullptr; }

  /// Those that it is composed of, in the order of the options' parts.
  virtual const std::vector<LRRule>* parts() const { return nullptr; }

  const std::string& kind() const { return options_.kind(); }
  const NamedOptions& options() const { return options_; }
  const std::string& text() const { return text_; }

 private:
  NamedOptions options_;
  std::string text_;
};

}  // namespace stepsize::detail
