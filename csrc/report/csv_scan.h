#pragma once

#include <string>
#include <vector>

namespace stepsize::report {

/// What must be known of a CSV file in order to continue it.
struct CsvScan {
  /// The cells of the first row, without their quotes.
  std::vector<std::string> header;
  bool ends_in_line_end = false;
  bool ends_in_quotes = false;
};

/// Reads the file once. Throws std::runtime_error, in the name of `who`, if it
/// cannot be read.
CsvScan scan_csv(const std::string& who, const std::string& path);

}  // namespace stepsize::report
