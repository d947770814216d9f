#pragma once

#include <stepsize/lr_scheduler/per_group.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "csrc/core/check.h"

namespace stepsize::detail {

/// Writes "Kind(name=value, name=value)".
class OptionText {
 public:
  explicit OptionText(const std::string& kind) : text_(kind + "(") {}

  OptionText& add(const std::string& name, const std::string& value);
  OptionText& add(const std::string& name, const char* value);
  OptionText& add(const std::string& name, double value);
  OptionText& add(const std::string& name, int64_t value);
  OptionText& add(const std::string& name, bool value);
  OptionText& add(const std::string& name, const PerGroup& value);
  OptionText& add(const std::string& name, const std::vector<int64_t>& values);

  std::string str() const { return text_ + ")"; }

 private:
  std::string text_;
  bool first_ = true;
};

/// "Kind(lr_lambda=callable)", or a list of them. Throws c10::Error where a
/// function, or the list, is empty.
std::string lambda_text(
    const std::string& kind,
    const std::vector<std::function<double(double)>>& functions,
    bool is_list);

/// Throws unless every number of the option is finite and >= 0, and a list
/// has at least one. `unit` says what it is where that is often taken for
/// another thing.
void check_rates(
    const std::string& kind,
    const std::string& option,
    const PerGroup& value,
    const std::string& unit = "");

/// Throws unless every number of the option is in [0, 1), and a list has at
/// least one.
void check_momenta(
    const std::string& kind, const std::string& option, const PerGroup& value);

/// Throws unless a list of the options has one entry a group, or one for all.
void check_list_length(
    const std::string& kind,
    const std::string& option,
    std::size_t entries,
    int64_t groups);

}  // namespace stepsize::detail
