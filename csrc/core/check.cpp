#include "csrc/core/check.h"

#include <c10/util/Exception.h>

#include <array>
#include <charconv>

namespace stepsize::detail {

std::string number_text(double value) {
  std::array<char, 32> buffer{};
  const auto result =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return std::string(buffer.data(), result.ptr);
}

std::string short_number_text(double value, int digits) {
  std::array<char, 32> buffer{};
  const auto written = std::to_chars(
      buffer.data(),
      buffer.data() + buffer.size(),
      value,
      std::chars_format::scientific,
      digits - 1);
  double rounded = value;
  std::from_chars(buffer.data(), written.ptr, rounded);
  return number_text(rounded);
}

void check_option(
    bool holds,
    const std::string& kind,
    const std::string& option,
    const std::string& rule,
    double value) {
  TORCH_CHECK(
      holds,
      kind,
      ": ",
      option,
      " must be ",
      rule,
      ", got ",
      number_text(value));
}

void check_option(
    bool holds,
    const std::string& kind,
    const std::string& option,
    const std::string& rule,
    int64_t value) {
  TORCH_CHECK(
      holds,
      kind,
      ": ",
      option,
      " must be ",
      rule,
      ", got ",
      std::to_string(value));
}

}  // namespace stepsize::detail
