#include "examples/trainer/data/byte_file.h"

#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

namespace stepsize::trainer {
namespace {

[[noreturn]] void fail(
    const std::filesystem::path& path, const std::string& why) {
  throw std::runtime_error("cannot read " + path.string() + ": " + why);
}

// gzclose_r() only repeats what gzread() has already said.
struct GzClose {
  void operator()(gzFile file) const { gzclose_r(file); }
};
using GzHandle = std::unique_ptr<gzFile_s, GzClose>;

}  // namespace

std::vector<std::uint8_t> read_bytes(
    const std::filesystem::path& path, std::size_t most_bytes) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) {
    fail(path, "no such file");
  }
  if (!std::filesystem::is_regular_file(path, error)) {
    fail(path, "not a regular file");
  }
  errno = 0;
  const GzHandle file(gzopen(path.string().c_str(), "rb"));
  if (!file) {
    fail(path, errno != 0 ? std::strerror(errno) : "out of memory");
  }
  constexpr unsigned kBufferBytes = 1U << 18U;
  gzbuffer(file.get(), kBufferBytes);

  // As much again each time: little for a small file, few times for a large
  // one.
  constexpr std::size_t kLeastChunk = std::size_t{1} << 16U;
  constexpr std::size_t kMostChunk = std::size_t{1} << 26U;
  std::vector<std::uint8_t> bytes;
  std::size_t size = 0;
  while (true) {
    const std::size_t chunk = std::clamp(size, kLeastChunk, kMostChunk);
    bytes.resize(size + chunk);
    const int count =
        gzread(file.get(), bytes.data() + size, static_cast<unsigned>(chunk));
    // A stream cut short reads like the end of a file: only gzerror() tells.
    int status = Z_OK;
    const char* message = gzerror(file.get(), &status);
    if (count < 0 || (status != Z_OK && status != Z_STREAM_END)) {
      if (status == Z_BUF_ERROR) {
        fail(path, "the gzip stream is truncated");
      }
      fail(
          path,
          status == Z_ERRNO
              ? std::strerror(errno)
              : "damaged gzip stream (" + std::string(message) + ")");
    }
    size += static_cast<std::size_t>(count);
    if (count == 0) {
      break;
    }
    // A few kilobytes of gzip can be a terabyte of zeros.
    if (size > most_bytes) {
      fail(
          path,
          "it unpacks to more than " + std::to_string(most_bytes) + " bytes");
    }
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace stepsize::trainer
