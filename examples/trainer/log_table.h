#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace stepsize::trainer {

/// The first rows of a table of numbers that a run has written.
struct LogTable {
  /// A value a column; nothing for an empty cell.
  std::vector<std::vector<std::optional<double>>> rows;
  /// Bytes of the file up to their end.
  std::uintmax_t size = 0;
};

/// Reads `rows` rows of a table with these columns; what comes after them may
/// be anything. Throws std::runtime_error naming the path, and the line where
/// one is to blame, where the file cannot be read, has other columns or fewer
/// rows, or a cell is no number.
LogTable read_log_table(
    const std::filesystem::path& path,
    const std::vector<std::string>& columns,
    std::int64_t rows);

}  // namespace stepsize::trainer
