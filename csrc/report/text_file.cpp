#include "csrc/report/text_file.h"

#include <cerrno>
#include <cstdio>

#include "csrc/report/file_error.h"

namespace stepsize::report {

void write_text_file(
    const std::string& who, const std::string& path, const std::string& text) {
  errno = 0;
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr) {
    throw_file_error(who, "open", path, errno);
  }
  const bool written =
      std::fwrite(text.data(), 1, text.size(), file) == text.size() &&
      std::fflush(file) == 0;
  const int error = errno;
  const bool closed = std::fclose(file) == 0;
  if (!written || !closed) {
    throw_file_error(who, "write to", path, written ? errno : error);
  }
}

}  // namespace stepsize::report
