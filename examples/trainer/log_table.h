#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace stepsize::trainer {

/// A row of a table of numbers that a run has written: a value a column,
/// nothing for an empty cell.
using LogRow = std::vector<std::optional<double>>;

/// Reads the first `rows` rows of a table with these columns; what comes after
/// them may be anything. Throws std::runtime_error naming the path, and the
/// line where one is to blame, where the file cannot be read, has other columns
/// or fewer rows, or a cell is no number.
std::vector<LogRow> read_log_rows(
    const std::filesystem::path& path,
    const std::vector<std::string>& columns,
    std::int64_t rows);

}  // namespace stepsize::trainer
