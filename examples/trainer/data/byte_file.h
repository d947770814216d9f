#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <utility>
#include <vector>

namespace stepsize::trainer {

/// No data set that this program reads has a larger file, unpacked.
inline constexpr std::size_t kMostFileBytes = std::size_t{1} << 32U;

/// The bytes of a file, unpacked if it is gzip (told by its first bytes, not
/// by its name). Throws std::runtime_error naming the path where the file
/// cannot be read, its gzip stream is damaged or ends early, or it unpacks to
/// more than `most_bytes`.
std::vector<std::uint8_t> read_bytes(
    const std::filesystem::path& path, std::size_t most_bytes = kMostFileBytes);

/// Bytes, and the name under which messages speak of them.
struct FileBytes {
  // A path alone is a file that is yet to be read.
  FileBytes(std::filesystem::path name, std::vector<std::uint8_t> content)
      : path(std::move(name)), bytes(std::move(content)) {}

  std::filesystem::path path;
  std::vector<std::uint8_t> bytes;
};

}  // namespace stepsize::trainer
