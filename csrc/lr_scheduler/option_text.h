#pragma once

#include <stepsize/lr_scheduler/per_group.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "csrc/core/check.h"
#include "csrc/core/named_options.h"

namespace stepsize::detail {

std::string option_text(const std::string& value);
std::string option_text(const char* value);
std::string option_text(double value);
std::string option_text(int64_t value);
std::string option_text(bool value);
std::string option_text(const PerGroup& value);
std::string option_text(const std::vector<int64_t>& values);

/// Lists a scheduler's options, numbers in their shortest exact form.
class OptionText {
 public:
  explicit OptionText(const std::string& kind) : list_(kind) {}

  template <typename Value>
  OptionText& add(const std::string& name, const Value& value) {
    list_.add(name, option_text(value));
    return *this;
  }
  /// The same of an option that a file may lack: what such a file stands for.
  /// It stays what it is where the default changes.
  template <typename Value>
  OptionText& add(
      const std::string& name,
      const Value& value,
      const std::common_type_t<Value>& before) {
    list_.add(name, option_text(value), option_text(before));
    return *this;
  }
  OptionText& add(
      const std::string& name, const char* value, const char* before) {
    list_.add(name, value, before);
    return *this;
  }
  OptionText& add_parts(
      const std::string& name, std::vector<NamedOptions> parts) {
    list_.add_parts(name, std::move(parts));
    return *this;
  }

  const NamedOptions& list() const { return list_; }

 private:
  NamedOptions list_;
};

/// "Kind(lr_lambda=callable)", or a list of them. Throws c10::Error where a
/// function, or the list, is empty.
NamedOptions lambda_options(
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
