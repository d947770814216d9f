#include "log_table.h"

#include <charconv>
#include <fstream>
#include <stdexcept>

namespace stepsize::trainer {
namespace {

[[noreturn]] void refuse_table(
    const std::filesystem::path& path, const std::string& why) {
  throw std::runtime_error("cannot go on with " + path.string() + ": " + why);
}

std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells;
  std::size_t start = 0;
  while (true) {
    const auto comma = line.find(',', start);
    cells.push_back(line.substr(start, comma - start));
    if (comma == std::string::npos) {
      return cells;
    }
    start = comma + 1;
  }
}

// False where the text is no number.
bool read_cell(const std::string& text, std::optional<double>& value) {
  if (text.empty()) {
    value = std::nullopt;
    return true;
  }
  const char* end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, value.emplace());
  return read.ec == std::errc() && read.ptr == end;
}

}  // namespace

std::vector<LogRow> read_log_rows(
    const std::filesystem::path& path,
    const std::vector<std::string>& columns,
    std::int64_t rows) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    refuse_table(path, "it cannot be read");
  }
  std::vector<LogRow> table;
  std::string line;
  // Whole lines only: a run that was killed may leave half a one.
  const auto next = [&] { return std::getline(file, line) && !file.eof(); };
  if (!next() || cells_of(line) != columns) {
    refuse_table(
        path, "its first line does not name the columns of this program");
  }
  for (std::int64_t row = 1; row <= rows; ++row) {
    if (!next()) {
      refuse_table(
          path,
          "it ends after row " + std::to_string(row - 1) +
              ", and the checkpoint was saved after row " +
              std::to_string(rows) +
              "; where there is an earlier checkpoint, remove the last one to "
              "go on from it");
    }
    const auto cells = cells_of(line);
    auto& values = table.emplace_back(columns.size());
    bool sound = cells.size() == columns.size();
    for (std::size_t i = 0; sound && i < cells.size(); ++i) {
      sound = read_cell(cells[i], values[i]);
    }
    if (!sound) {
      refuse_table(
          path, "line " + std::to_string(row + 1) + " is no row: " + line);
    }
  }
  return table;
}

}  // namespace stepsize::trainer
