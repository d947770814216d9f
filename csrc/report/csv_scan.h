#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace stepsize::report {

/// What must be known of a CSV file in order to continue it.
struct CsvScan {
  /// The cells of the first row, without their quotes.
  std::vector<std::string> header;
  bool ends_in_line_end = false;
  bool ends_in_quotes = false;
  /// Bytes up to the end of the last row that passed the check and has its
  /// line end; 0 where not even the header has one.
  std::uintmax_t whole_size = 0;
};

/// A row below the header that has its line end. Empty lines are none.
struct CsvRow {
  std::vector<std::string> cells;  ///< without their quotes
  std::uintmax_t start = 0;        ///< its first byte in the file
  std::int64_t line = 0;           ///< the line that it begins in, from 1
};

/// Called with each row; false ends the scan there.
using CsvRowCheck = std::function<bool(const CsvRow&)>;

/// Reads the file once. Throws std::runtime_error, in the name of `who`, if it
/// cannot be read.
CsvScan scan_csv(
    const std::string& who,
    const std::string& path,
    const CsvRowCheck& check = nullptr);

}  // namespace stepsize::report
