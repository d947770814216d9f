#pragma once

#include <cstdint>
#include <string>

namespace stepsize::tensorboard {

/// CRC-32C (Castagnoli), as in iSCSI: RFC 3720, 12.1.
std::uint32_t crc32c(const std::string& bytes);

/// A record of TensorFlow's record files: the length in eight bytes, its
/// checksum, the bytes, their checksum. Numbers are little-endian, checksums
/// CRC-32C, turned by 15 bits and moved by a constant.
std::string record_of(const std::string& bytes);

}  // namespace stepsize::tensorboard
