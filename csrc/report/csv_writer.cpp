#include <stepsize/report/csv_writer.h>

#include <cerrno>
#include <filesystem>
#include <set>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "csrc/report/csv_scan.h"
#include "csrc/report/file_error.h"

namespace stepsize {
namespace {

std::string join_cells(const std::vector<CsvCell>& cells) {
  // A lone empty cell would be an empty line, which readers skip.
  if (cells.size() == 1 && cells[0].text().empty()) return "\"\"\n";
  std::string line;
  for (size_t i = 0; i < cells.size(); ++i) {
    if (i > 0) line += ',';
    line += cells[i].text();
  }
  return line + '\n';
}

std::string join_names(const std::vector<std::string>& names) {
  return join_cells(std::vector<CsvCell>(names.begin(), names.end()));
}

std::string without_line_end(std::string line) {
  line.pop_back();
  return line;
}

void check_columns(const std::vector<std::string>& columns) {
  if (columns.empty()) {
    throw std::invalid_argument("CsvWriter: columns must not be empty");
  }
  std::set<std::string> seen;
  for (const std::string& column : columns) {
    if (!seen.insert(column).second) {
      throw std::invalid_argument(
          "CsvWriter: columns must differ, got \"" + column + "\" twice");
    }
  }
}

}  // namespace

CsvWriter::CsvWriter(
    const std::string& path, std::vector<std::string> columns, CsvMode mode)
    : path_(path), columns_(std::move(columns)) {
  check_columns(columns_);
  const std::string header = join_names(columns_);
  std::error_code ignored;
  const bool continues =
      mode == CsvMode::kAppend && std::filesystem::exists(path_, ignored) &&
      std::filesystem::file_size(path_, ignored) > 0 && !ignored;
  if (!continues) {
    open(mode == CsvMode::kTruncate ? "wb" : "ab");
    write(header);
    return;
  }
  const report::CsvScan scan = report::scan_csv("CsvWriter", path_);
  if (scan.header != columns_) {
    throw std::runtime_error(
        "CsvWriter: cannot continue \"" + path_ + "\": its columns are " +
        without_line_end(join_names(scan.header)) + ", expected " +
        without_line_end(header));
  }
  if (scan.ends_in_quotes) {
    throw std::runtime_error(
        "CsvWriter: cannot continue \"" + path_ +
        "\": it ends inside a quoted cell");
  }
  open("ab");
  // A last row without a line end would run into the next one.
  if (!scan.ends_in_line_end) write("\n");
}

void CsvWriter::row(const std::vector<CsvCell>& cells) {
  if (cells.size() != columns_.size()) {
    throw std::invalid_argument(
        "CsvWriter: row has " + std::to_string(cells.size()) +
        " values, expected " + std::to_string(columns_.size()) +
        " (the columns)");
  }
  write(join_cells(cells));
}

void CsvWriter::open(const char* mode) {
  errno = 0;
  file_.reset(std::fopen(path_.c_str(), mode));
  if (file_ && mode[0] == 'w') {
    // Only a file opened for appending writes at its end again after a row that
    // did not fit was cut off.
    file_.reset(std::fopen(path_.c_str(), "ab"));
  }
  if (!file_) report::throw_file_error("CsvWriter", "open", path_, errno);
  // Whole rows are handed over at once, so a buffer would only delay them.
  std::setvbuf(file_.get(), nullptr, _IONBF, 0);
}

void CsvWriter::write(const std::string& text) {
  std::error_code no_size;
  const bool is_file = std::filesystem::is_regular_file(path_, no_size);
  const auto size = is_file ? std::filesystem::file_size(path_, no_size) : 0;
  errno = 0;
  const size_t written = std::fwrite(text.data(), 1, text.size(), file_.get());
  if (written == text.size() && std::fflush(file_.get()) == 0) return;
  const int error = errno;
  std::clearerr(file_.get());
  if (is_file && !no_size) {
    std::error_code ignored;
    std::filesystem::resize_file(path_, size, ignored);
  }
  report::throw_file_error("CsvWriter", "write to", path_, error);
}

}  // namespace stepsize
