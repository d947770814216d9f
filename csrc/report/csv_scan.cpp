#include "csrc/report/csv_scan.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <utility>

#include "csrc/report/file_error.h"

namespace stepsize::report {
namespace {

class RowReader {
 public:
  explicit RowReader(const CsvRowCheck& check) : check_(check) {}

  // False where the check has ended the scan.
  bool feed(char c) {
    ++size_;
    last_ = c;
    if (c == '\n') ++line_;
    if (c == '"') {
      // Inside of a quoted cell a doubled quote closes and opens it again; the
      // second one is then text.
      if (!quoted_ && closed_just_now_) cell_ += '"';
      closed_just_now_ = quoted_;
      quoted_ = !quoted_;
      return true;
    }
    closed_just_now_ = false;
    if (!in_header_ && !check_) return true;
    if (quoted_ || (c != ',' && c != '\n')) {
      cell_ += c;
      return true;
    }
    if (c == '\n' && !cell_.empty() && cell_.back() == '\r') cell_.pop_back();
    row_.cells.push_back(std::move(cell_));
    cell_.clear();
    return c == ',' || end_row();
  }

  CsvScan result() {
    if (in_header_) {
      row_.cells.push_back(std::move(cell_));
      header_ = std::move(row_.cells);
    }
    return {std::move(header_), last_ == '\n', quoted_, row_.start};
  }

 private:
  bool end_row() {
    bool goes_on = true;
    if (in_header_) {
      header_ = std::move(row_.cells);
      in_header_ = false;
    } else {
      const bool is_empty = size_ - row_.start <= 2 &&
                            row_.cells.front().empty() &&
                            row_.cells.size() == 1;
      goes_on = is_empty || check_(row_);
    }
    row_.cells.clear();
    if (goes_on) {
      row_.start = size_;
      row_.line = line_;
    }
    return goes_on;
  }

  const CsvRowCheck& check_;
  std::vector<std::string> header_;
  CsvRow row_{{}, 0, 1};
  std::string cell_;
  std::uintmax_t size_ = 0;
  std::int64_t line_ = 1;
  bool in_header_ = true;
  bool quoted_ = false;
  bool closed_just_now_ = false;
  char last_ = '\0';
};

}  // namespace

CsvScan scan_csv(
    const std::string& who, const std::string& path, const CsvRowCheck& check) {
  errno = 0;
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
      std::fopen(path.c_str(), "rb"), &std::fclose);
  if (!file) throw_file_error(who, "read", path, errno);
  RowReader reader(check);
  std::array<char, 65536> buffer;
  size_t count = 0;
  while ((count = std::fread(buffer.data(), 1, buffer.size(), file.get())) >
         0) {
    for (size_t i = 0; i < count; ++i) {
      if (!reader.feed(buffer[i])) return reader.result();
    }
  }
  if (std::ferror(file.get()) != 0) throw_file_error(who, "read", path, errno);
  return reader.result();
}

}  // namespace stepsize::report
