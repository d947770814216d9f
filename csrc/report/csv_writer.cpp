#include <stepsize/report/csv_writer.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <filesystem>
#include <optional>
#include <set>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "csrc/report/csv_scan.h"
#include "csrc/report/file_error.h"
#include "csrc/text/number.h"

namespace stepsize {
namespace {

constexpr char kWho[] = "CsvWriter";

// Nothing where the text is no number.
std::optional<bool> is_below(const std::string& text, std::int64_t limit) {
  const auto whole = detail::number_in<std::int64_t>(text);
  if (whole) return *whole < limit;
  const auto number = detail::number_in<double>(text);
  if (!number || std::isnan(*number)) return std::nullopt;
  return *number < static_cast<double>(limit);
}

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
  if (mode == CsvMode::kTruncate || !has_content()) {
    open(mode == CsvMode::kTruncate ? "wb" : "ab");
    write(join_names(columns_));
    return;
  }
  const report::CsvScan scan = report::scan_csv(kWho, path_);
  check_header(scan.header);
  if (scan.ends_in_quotes) refuse_to_continue("it ends inside a quoted cell");
  open("ab");
  // A last row without a line end would run into the next one.
  if (!scan.ends_in_line_end) write("\n");
}

CsvWriter::CsvWriter(
    const std::string& path,
    std::vector<std::string> columns,
    const CsvCut& cut)
    : path_(path), columns_(std::move(columns)) {
  check_columns(columns_);
  const auto column = std::find(columns_.begin(), columns_.end(), cut.column);
  if (column == columns_.end()) {
    throw std::invalid_argument(
        "CsvWriter: the column to cut by must be one of " +
        without_line_end(join_names(columns_)) + ", got \"" + cut.column + '"');
  }
  if (!has_content()) {
    open("ab");
    write(join_names(columns_));
    return;
  }
  std::string fault;
  bool is_cut = false;
  const report::CsvScan scan =
      report::scan_csv(kWho, path_, [&](const report::CsvRow& row) {
        const std::string line = "line " + std::to_string(row.line);
        if (row.cells.size() != columns_.size()) {
          fault = line + " has " + std::to_string(row.cells.size()) +
                  " values, expected " + std::to_string(columns_.size());
          return false;
        }
        const auto& cell = row.cells[column - columns_.begin()];
        const auto is_kept = is_below(cell, cut.from);
        if (!is_kept) {
          fault = line + " has no number in the column \"" + cut.column +
                  "\": " + cell;
        }
        is_cut = is_kept && !*is_kept;
        return is_kept && *is_kept;
      });
  check_header(scan.header);
  if (!fault.empty()) refuse_to_continue(fault);
  if (!is_cut && scan.ends_in_quotes) {
    refuse_to_continue("it ends inside a quoted cell");
  }
  if (scan.whole_size > 0) {
    std::error_code error;
    std::filesystem::resize_file(path_, scan.whole_size, error);
    if (error) report::throw_file_error(kWho, "cut", path_, error.value());
  }
  open("ab");
  if (scan.whole_size == 0) write("\n");  // The header has no line end yet.
}

bool CsvWriter::has_content() const {
  std::error_code ignored;
  return std::filesystem::exists(path_, ignored) &&
         std::filesystem::file_size(path_, ignored) > 0 && !ignored;
}

void CsvWriter::check_header(const std::vector<std::string>& header) const {
  if (header == columns_) return;
  refuse_to_continue(
      "its columns are " + without_line_end(join_names(header)) +
      ", expected " + without_line_end(join_names(columns_)));
}

void CsvWriter::refuse_to_continue(const std::string& why) const {
  throw std::runtime_error(
      std::string(kWho) + ": cannot continue \"" + path_ + "\": " + why);
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
  if (!file_) report::throw_file_error(kWho, "open", path_, errno);
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
  report::throw_file_error(kWho, "write to", path_, error);
}

}  // namespace stepsize
