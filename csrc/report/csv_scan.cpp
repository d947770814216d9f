#include "csrc/report/csv_scan.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "csrc/report/file_error.h"

namespace stepsize::report {
namespace {

class HeaderReader {
 public:
  void feed(char c) {
    last_ = c;
    if (c == '"') {
      // Inside of a quoted cell a doubled quote closes and opens it again; the
      // second one is then text.
      if (!quoted_ && closed_just_now_) cell_ += '"';
      closed_just_now_ = quoted_;
      quoted_ = !quoted_;
      return;
    }
    closed_just_now_ = false;
    if (in_header_) feed_header(c);
  }

  CsvScan result() {
    if (in_header_) end_cell();
    return {std::move(header_), last_ == '\n', quoted_};
  }

 private:
  void feed_header(char c) {
    if (quoted_ || (c != ',' && c != '\n')) {
      cell_ += c;
      return;
    }
    if (c == '\n' && !cell_.empty() && cell_.back() == '\r') cell_.pop_back();
    end_cell();
    in_header_ = c != '\n';
  }

  void end_cell() {
    header_.push_back(std::move(cell_));
    cell_.clear();
  }

  std::vector<std::string> header_;
  std::string cell_;
  bool in_header_ = true;
  bool quoted_ = false;
  bool closed_just_now_ = false;
  char last_ = '\0';
};

}  // namespace

CsvScan scan_csv(const std::string& who, const std::string& path) {
  errno = 0;
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(
      std::fopen(path.c_str(), "rb"), &std::fclose);
  if (!file) throw_file_error(who, "read", path, errno);
  HeaderReader reader;
  std::array<char, 65536> buffer;
  size_t count = 0;
  while ((count = std::fread(buffer.data(), 1, buffer.size(), file.get())) >
         0) {
    for (size_t i = 0; i < count; ++i) reader.feed(buffer[i]);
  }
  if (std::ferror(file.get()) != 0) throw_file_error(who, "read", path, errno);
  return reader.result();
}

}  // namespace stepsize::report
