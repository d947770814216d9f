#include "csrc/lr_scheduler/option_text.h"

#include <c10/util/Exception.h>

#include <cmath>

#include "csrc/text/number.h"

namespace stepsize {
namespace detail {

std::string option_text(const std::string& value) { return value; }

std::string option_text(const char* value) { return value; }

std::string option_text(double value) { return number_text(value); }

std::string option_text(int64_t value) { return std::to_string(value); }

std::string option_text(bool value) { return value ? "true" : "false"; }

std::string option_text(const PerGroup& value) { return value.to_string(); }

std::string option_text(const std::vector<int64_t>& values) {
  std::string list = "[";
  for (std::size_t i = 0; i < values.size(); ++i) {
    list += (i == 0 ? "" : ", ") + std::to_string(values[i]);
  }
  return list + "]";
}

NamedOptions lambda_options(
    const std::string& kind,
    const std::vector<std::function<double(double)>>& functions,
    bool is_list) {
  TORCH_CHECK(
      !functions.empty(),
      kind,
      ": lr_lambda must have one function a parameter group, got an empty "
      "list");
  std::string text;
  for (const auto& function : functions) {
    TORCH_CHECK(
        function != nullptr, kind, ": lr_lambda must be callable, got nothing");
    text += text.empty() ? "callable" : ", callable";
  }
  if (is_list) text = "[" + text + "]";
  return OptionText(kind).add("lr_lambda", text).list();
}

namespace {

void check_not_empty(
    const std::string& kind, const std::string& option, const PerGroup& value) {
  TORCH_CHECK(
      !value.values().empty(),
      kind,
      ": ",
      option,
      " must have one value a parameter group, got an empty list");
}

}  // namespace

void check_rates(
    const std::string& kind,
    const std::string& option,
    const PerGroup& value,
    const std::string& unit) {
  check_not_empty(kind, option, value);
  for (const double rate : value.values()) {
    check_option(
        std::isfinite(rate) && rate >= 0,
        kind,
        option,
        unit + "finite and >= 0",
        rate);
  }
}

void check_momenta(
    const std::string& kind, const std::string& option, const PerGroup& value) {
  check_not_empty(kind, option, value);
  for (const double momentum : value.values()) {
    check_option(
        momentum >= 0 && momentum < 1, kind, option, "in [0, 1)", momentum);
  }
}

void check_list_length(
    const std::string& kind,
    const std::string& option,
    std::size_t entries,
    int64_t groups) {
  TORCH_CHECK(
      entries == 1 || static_cast<int64_t>(entries) == groups,
      kind,
      ": ",
      option,
      " has ",
      std::to_string(entries),
      " values, expected ",
      std::to_string(groups),
      " (the parameter groups), or one for all");
}

}  // namespace detail

std::string PerGroup::to_string() const {
  if (!is_list_) return detail::number_text(values_.front());
  std::string text = "[";
  for (std::size_t i = 0; i < values_.size(); ++i) {
    text += (i == 0 ? "" : ", ") + detail::number_text(values_[i]);
  }
  return text + "]";
}

}  // namespace stepsize
