#pragma once

#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace stepsize::detail {

template <typename Float>
std::string shortest_text(Float value) {
  // to_chars writes the sign of a NaN, which says nothing.
  if (std::isnan(value)) return "nan";
  std::array<char, 32> buffer{};
  const auto written =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value);
  return std::string(buffer.data(), written.ptr);
}

/// The shortest text that reads back as the same number; '.' in every locale;
/// "nan", "inf", "-inf".
inline std::string number_text(double value) { return shortest_text(value); }
/// The same, read back as a float: 0.1f is "0.1".
inline std::string number_text(float value) { return shortest_text(value); }

/// The same of the value rounded to 1 to 17 significant digits, for a sentence.
inline std::string short_number_text(double value, int digits = 4) {
  std::array<char, 32> buffer{};
  const auto written = std::to_chars(
      buffer.data(),
      buffer.data() + buffer.size(),
      value,
      std::chars_format::scientific,
      digits - 1);
  // What rounds up past the largest double stays as it is.
  double rounded = value;
  std::from_chars(buffer.data(), written.ptr, rounded);
  return number_text(rounded);
}

/// The number that the whole text is, in any locale: no space, no leading plus,
/// nothing behind it. Else none, as where it is beyond the type's range.
template <typename Number>
std::optional<Number> number_in(std::string_view text) {
  Number number{};
  const char* end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, number);
  if (read.ec != std::errc() || read.ptr != end) return std::nullopt;
  return number;
}

}  // namespace stepsize::detail
