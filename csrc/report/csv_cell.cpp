#include <stepsize/report/csv_cell.h>

#include "csrc/text/number.h"

namespace stepsize {
namespace {

std::string quoted_if_needed(const std::string& text) {
  const bool needs_quotes = text.empty() || text.front() == ' ' ||
                            text.back() == ' ' ||
                            text.find_first_of(",\"\r\n") != std::string::npos;
  if (!needs_quotes) return text;
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"') result += '"';
    result += c;
  }
  return result + '"';
}

}  // namespace

CsvCell::CsvCell(double value) : text_(detail::number_text(value)) {}
CsvCell::CsvCell(float value) : text_(detail::number_text(value)) {}
CsvCell::CsvCell(const std::string& text) : text_(quoted_if_needed(text)) {}
CsvCell::CsvCell(const char* text) : CsvCell(std::string(text)) {}

}  // namespace stepsize
