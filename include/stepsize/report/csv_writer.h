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

/// Where a file is cut off before it is continued, as after a resume: at the
/// first row whose number in `column` is `from` or more.
struct CsvCut {
  std::string column;
  std::int64_t from = 0;
};

/// Writes a table to a CSV file (RFC 4180 quoting, lines end in '\n'), one row
/// at a time.
///
///     CsvWriter log("log.csv", {"step", "loss", "note"}, CsvMode::kAppend);
///     log.row({step, loss, std::nullopt});
///
/// A run that is resumed after `step` updates takes back what it had logged
/// beyond them:
///
///     CsvWriter log("log.csv", {"step", "loss"}, CsvCut{"step", step + 1});
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

  /// Goes on with the file, if there is one, from the cut on: the rows before
  /// it stay byte for byte, and what follows them may be anything. A last row
  /// without a line end goes too: it may be half of one.
  ///
  /// Throws as above, std::invalid_argument if the cut's column is none of the
  /// columns, and std::runtime_error that names the line if a row before the
  /// cut has no number there or other than one cell a column; the file is then
  /// as it was.
  CsvWriter(
      const std::string& path,
      std::vector<std::string> columns,
      const CsvCut& cut);

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

  bool has_content() const;
  void check_header(const std::vector<std::string>& header) const;
  [[noreturn]] void refuse_to_continue(const std::string& why) const;
  void open(const char* mode);
  void write(const std::string& text);

  std::string path_;
  std::vector<std::string> columns_;
  std::unique_ptr<std::FILE, Closer> file_;
};

}  // namespace stepsize
