#pragma once

#include <stepsize/lr_scheduler/lr_rule.h>

#include <cstdint>
#include <string>
#include <utility>

namespace stepsize::detail {

/// What an LRRule holds: immutable, shared, used from several threads.
class LRRuleNode {
 public:
  LRRuleNode(std::string kind, std::string text)
      : kind_(std::move(kind)), text_(std::move(text)) {}
  LRRuleNode(const LRRuleNode&) = delete;
  LRRuleNode& operator=(const LRRuleNode&) = delete;
  virtual ~LRRuleNode() = default;

  virtual GroupRate at(const LRGroup& group, double t) const = 0;
  virtual double length() const = 0;
  virtual void check_group_count(int64_t groups) const = 0;
  virtual const MomentumAccess* momentum_access() const { return nullptr; }

  const std::string& kind() const { return kind_; }
  const std::string& text() const { return text_; }

 private:
  std::string kind_;
  std::string text_;
};

}  // namespace stepsize::detail
