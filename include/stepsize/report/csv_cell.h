#pragma once

#include <optional>
#include <string>
#include <type_traits>

namespace stepsize {

/// One value of a CSV row, held as the text that goes into the file.
///
/// Numbers take the shortest form that reads back as the same number, with '.'
/// in every locale; non-finite ones are `nan`, `inf` and `-inf`. Text is quoted
/// as RFC 4180 asks: when it holds a comma, a quote or a line break. Beyond
/// that, text which is empty or starts or ends with a space is quoted too, so
/// that it differs from an empty cell and no reader trims it.
class CsvCell {
 public:
  CsvCell(double value);
  CsvCell(float value);
  CsvCell(const std::string& text);
  CsvCell(const char* text);
  /// An empty cell: no value.
  CsvCell(std::nullopt_t) {}

  /// Any integer type; a bool is 1 or 0.
  template <
      typename Integer,
      std::enable_if_t<std::is_integral_v<Integer>, int> = 0>
  CsvCell(Integer value) : text_(std::to_string(value)) {}

  /// The value, or an empty cell if there is none.
  template <typename T>
  CsvCell(const std::optional<T>& value)
      : CsvCell(value ? CsvCell(*value) : CsvCell(std::nullopt)) {}

  /// The text as it stands in the file, quoted where need be.
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

}  // namespace stepsize
