#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <stepsize/report/csv_cell.h>

namespace stepsize {

enum class CsvMode {
  /// Starts the file anew.
  kTruncate,
  /// Continues the file if there is one.
  kAppend,
};

/// Writes a table to a CSV file (RFC 4180 quoting, lines end in '\n'), one row
/// at a time.
///
///     CsvWriter log("log.csv", {"step", "loss", "note"}, CsvMode::kAppend);
///     log.row({step, loss, std::nullopt});
///
/// Every row goes to the file before `row` returns, so that another program can
/// follow a run, and a crash of this one loses none. A row that does not fit on
/// the disk is taken back: a file never ends in half a row by our hand.
///
/// Not safe for use from several threads at once.
class CsvWriter {
 public:
  /// Opens the file and writes the header row, unless a file that is continued
  /// has it already.
  ///
  /// Throws std::invalid_argument if there are no columns or two have the same
  /// name; the file is then as it was. Throws std::runtime_error that names the
  /// path and the reason if the file cannot be opened or written, or if a file
  /// to continue has other columns or ends inside a quoted cell.
  CsvWriter(
      const std::string& path,
      std::vector<std::string> columns,
      CsvMode mode = CsvMode::kTruncate);

  /// Adds a row. Throws std::invalid_argument if it does not have one cell a
  /// column, std::runtime_error (path and reason) if it cannot be written; a
  /// later row may then succeed.
  void row(const std::vector<CsvCell>& cells);

  const std::string& path() const { return path_; }
  const std::vector<std::string>& columns() const { return columns_; }

 private:
  struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  void open(const char* mode);
  void write(const std::string& text);

  std::string path_;
  std::vector<std::string> columns_;
  std::unique_ptr<std::FILE, Closer> file_;
};

}  // namespace stepsize
