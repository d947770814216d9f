#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

namespace stepsize::trainer {

/// The bytes of a file, unpacked if it is gzip (told by its first bytes, not
/// by its name). Throws std::runtime_error naming the path where the file
/// cannot be read or its gzip stream is damaged or ends early.
std::vector<std::uint8_t> read_bytes(const std::filesystem::path& path);

}  // namespace stepsize::trainer
