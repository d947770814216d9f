#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace stepsize::detail {

/// What the checkpoint needs of the system's files, and the standard library
/// lacks. Each returns 0 or the system's error number. Where there is no POSIX,
/// nothing is flushed beyond the system's cache.
class SystemFile {
 public:
  SystemFile() = default;
  ~SystemFile();
  SystemFile(const SystemFile&) = delete;
  SystemFile& operator=(const SystemFile&) = delete;

  /// A new file, to be written; locked for as long as it is open.
  int create(const std::string& path);
  /// A file that is there, to be read.
  int open(const std::string& path);
  int close() noexcept;

  int append(const void* bytes, std::size_t size) noexcept;
  int write_at_start(const void* bytes, std::size_t size) noexcept;
  int flush_to_disk() noexcept;

  /// Of a file that was opened.
  uint64_t size() const { return size_; }
  /// Fewer bytes where the file ends, or the system fails, which read_error()
  /// says then.
  std::size_t read(uint64_t at, void* bytes, std::size_t size) noexcept;
  /// The number of the first error of a read(); 0 where there was none.
  int read_error() const noexcept { return read_error_; }

 private:
#ifdef _WIN32
  void* file_ = nullptr;
#else
  int file_ = -1;
#endif
  uint64_t size_ = 0;
  int read_error_ = 0;
};

/// Makes the names in a folder reach the disk.
int flush_folder(const std::string& folder) noexcept;

int64_t process_id() noexcept;

/// What follows the name of a file while it is written; a process and a number
/// follow.
inline const char* temporary_mark() { return ".tmp-"; }

/// Whether nobody writes a temporary file any more: its lock is free, and its
/// process is gone or it has not been touched for a minute. (A process of the
/// same number may live in another container, or be this one.)
bool is_abandoned(const std::string& path, const std::string& process);

}  // namespace stepsize::detail
