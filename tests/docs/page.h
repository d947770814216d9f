#pragma once

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace stepsize {

/// The folder that the pages lie in; main() sets it.
inline std::filesystem::path& project_folder() {
  static std::filesystem::path folder;
  return folder;
}

/// The lines of a file of the project.
inline std::vector<std::string> lines_of(const std::string& file) {
  std::ifstream stream(project_folder() / file);
  if (!stream) {
    throw std::runtime_error("cannot read " + file);
  }
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(line);
  }
  return lines;
}

/// The lines within the page's fenced blocks of one language.
inline std::vector<std::string> fenced_lines(
    const std::string& file, const std::string& language) {
  std::vector<std::string> found;
  std::string fence;
  for (const std::string& line : lines_of(file)) {
    if (line.rfind("```", 0) == 0) {
      fence = fence.empty() ? line : "";
    } else if (fence == "```" + language) {
      found.push_back(line);
    }
  }
  return found;
}

/// The cells of every row of the page's tables, without the spaces around.
inline std::vector<std::vector<std::string>> table_rows(
    const std::string& file) {
  std::vector<std::vector<std::string>> rows;
  for (const std::string& line : lines_of(file)) {
    if (line.rfind("| ", 0) != 0) {
      continue;
    }
    std::vector<std::string> cells;
    std::size_t start = 1;
    for (std::size_t end = line.find('|', start); end != std::string::npos;
         end = line.find('|', start)) {
      const std::string cell = line.substr(start, end - start);
      const std::size_t first = cell.find_first_not_of(' ');
      const std::size_t last = cell.find_last_not_of(' ');
      cells.push_back(
          first == std::string::npos ? ""
                                     : cell.substr(first, last - first + 1));
      start = end + 1;
    }
    rows.push_back(std::move(cells));
  }
  return rows;
}

/// Whether a cell is one piece of code, `like this`.
inline bool is_code(const std::string& cell) {
  return cell.size() > 2 && cell.front() == '`' && cell.back() == '`' &&
         cell.find('`', 1) == cell.size() - 1;
}

inline std::string code_in(const std::string& cell) {
  return cell.substr(1, cell.size() - 2);
}

}  // namespace stepsize
