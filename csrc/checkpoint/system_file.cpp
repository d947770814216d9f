#include "csrc/checkpoint/system_file.h"

#ifdef _WIN32

#include <process.h>

#include <cerrno>
#include <cstdio>

namespace stepsize::detail {
namespace {

std::FILE* stream(void* file) { return static_cast<std::FILE*>(file); }

int last_error() { return errno != 0 ? errno : EIO; }

}  // namespace

SystemFile::~SystemFile() { close(); }

int SystemFile::create(const std::string& path) {
  file_ = std::fopen(path.c_str(), "wbx");
  return file_ != nullptr ? 0 : last_error();
}

int SystemFile::open(const std::string& path) {
  file_ = std::fopen(path.c_str(), "rb");
  if (file_ == nullptr) return last_error();
  if (_fseeki64(stream(file_), 0, SEEK_END) != 0) return last_error();
  size_ = static_cast<uint64_t>(_ftelli64(stream(file_)));
  return 0;
}

int SystemFile::close() noexcept {
  if (file_ == nullptr) return 0;
  const int result = std::fclose(stream(file_));
  file_ = nullptr;
  return result == 0 ? 0 : last_error();
}

int SystemFile::append(const void* bytes, std::size_t size) noexcept {
  const bool done = std::fwrite(bytes, 1, size, stream(file_)) == size;
  return done ? 0 : last_error();
}

int SystemFile::write_at_start(const void* bytes, std::size_t size) noexcept {
  if (_fseeki64(stream(file_), 0, SEEK_SET) != 0) return last_error();
  return append(bytes, size);
}

int SystemFile::flush_to_disk() noexcept {
  return std::fflush(stream(file_)) == 0 ? 0 : last_error();
}

std::size_t SystemFile::read(
    uint64_t at, void* bytes, std::size_t size) noexcept {
  const auto offset = static_cast<int64_t>(at);
  std::size_t done = 0;
  bool failed = _fseeki64(stream(file_), offset, SEEK_SET) != 0;
  if (!failed) {
    done = std::fread(bytes, 1, size, stream(file_));
    failed = done < size && std::ferror(stream(file_)) != 0;
  }
  if (failed && read_error_ == 0) read_error_ = last_error();
  return done;
}

int flush_folder(const std::string& /*folder*/) noexcept { return 0; }

int64_t process_id() noexcept { return _getpid(); }

bool is_abandoned(const std::string& /*path*/, const std::string& /*process*/) {
  return false;
}

}  // namespace stepsize::detail

#else

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <ctime>

namespace stepsize::detail {
namespace {

// Some file systems cannot flush a folder, and need not.
bool cannot_flush(int error) {
  // Two of these are one number on some systems.
  return error == EINVAL || error == ENOSYS || error == ENOTSUP ||
         error == EOPNOTSUPP;
}

}  // namespace

SystemFile::~SystemFile() { close(); }

int SystemFile::create(const std::string& path) {
  file_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file_ < 0) return errno;
  // Where there are no locks, is_abandoned() gets none either.
  ::flock(file_, LOCK_EX | LOCK_NB);
  return 0;
}

int SystemFile::open(const std::string& path) {
  file_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file_ < 0) return errno;
  struct stat status {};
  if (::fstat(file_, &status) != 0) return errno;
  size_ = static_cast<uint64_t>(status.st_size);
  return 0;
}

int SystemFile::close() noexcept {
  if (file_ < 0) return 0;
  const int result = ::close(file_);
  file_ = -1;
  return result == 0 ? 0 : errno;
}

int SystemFile::append(const void* bytes, std::size_t size) noexcept {
  const auto* next = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t written = ::write(file_, next, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return written < 0 ? errno : ENOSPC;
    next += written;
    size -= static_cast<std::size_t>(written);
  }
  return 0;
}

int SystemFile::write_at_start(const void* bytes, std::size_t size) noexcept {
  if (::lseek(file_, 0, SEEK_SET) != 0) return errno;
  return append(bytes, size);
}

int SystemFile::flush_to_disk() noexcept {
  while (::fsync(file_) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

std::size_t SystemFile::read(
    uint64_t at, void* bytes, std::size_t size) noexcept {
  auto* next = static_cast<char*>(bytes);
  std::size_t done = 0;
  while (done < size) {
    const ssize_t part =
        ::pread(file_, next + done, size - done, static_cast<off_t>(at + done));
    if (part < 0 && errno == EINTR) continue;
    if (part < 0 && read_error_ == 0) read_error_ = errno;
    if (part <= 0) break;
    done += static_cast<std::size_t>(part);
  }
  return done;
}

int flush_folder(const std::string& folder) noexcept {
  const int file = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0) {
    // A folder that may be written and not read cannot be opened.
    return errno == EACCES || cannot_flush(errno) ? 0 : errno;
  }
  const int result = ::fsync(file) == 0 ? 0 : errno;
  ::close(file);
  return cannot_flush(result) ? 0 : result;
}

int64_t process_id() noexcept { return static_cast<int64_t>(::getpid()); }

bool is_abandoned(const std::string& path, const std::string& process) {
  const int file = ::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (file < 0) return false;
  bool abandoned = false;
  struct stat status {};
  if (::flock(file, LOCK_EX | LOCK_NB) == 0 && ::fstat(file, &status) == 0) {
    constexpr std::time_t kLongAgo = 60;
    const auto id =
        static_cast<pid_t>(std::strtol(process.c_str(), nullptr, 10));
    const bool gone = id > 0 && ::kill(id, 0) != 0 && errno == ESRCH;
    abandoned = gone || std::time(nullptr) - status.st_mtime > kLongAgo;
  }
  ::close(file);
  return abandoned;
}

}  // namespace stepsize::detail

#endif
