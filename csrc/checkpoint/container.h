#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace stepsize::detail {

/// What stands at the head of a checkpoint. The file is
///
///     offset  size  what, little-endian
///          0     8  89 'S' 'S' 'Z' 0D 0A 1A 0A
///          8     4  version of the format
///         12     4  size of this head, H
///         16     8  size of the index, I
///         24     8  size of the data, D
///         32     4  CRC-32 of the index
///         36     4  CRC-32 of the data
///         40   H-44 version of LibTorch, as text
///        H-4     4  CRC-32 of the H-4 bytes before
///          H     I  index: an archive of LibTorch
///        H+I     D  data: another
///
/// The first 16 bytes, and the CRC-32 that ends the head, are to stay as they
/// are in every version of the format: so an older library can tell a newer
/// file from a damaged one.
struct CheckpointHead {
  uint32_t format = 0;
  uint64_t index_size = 0;
  uint64_t data_size = 0;
  uint32_t index_crc = 0;
  uint32_t data_crc = 0;
  std::string torch_version;
  /// Whether the fault of the file is its format, and it is not damaged.
  bool is_of_other_format = false;
};

constexpr uint32_t kCheckpointFormat = 1;
/// The head of a file of this format is no longer than this.
constexpr std::size_t kMostHeadSize = 256;

/// The head as bytes; the version of LibTorch is cut where it is too long.
std::string checkpoint_head_bytes(const CheckpointHead& head);

/// Reads the head out of the first bytes of a file: all of it, or
/// kMostHeadSize of them. `file_size` is the length of the whole file. Returns
/// what is wrong, as the end of a sentence ("is empty"), or an empty text. The
/// head of another format may be longer than `size`: then its checksum is left.
/// Whatever the bytes are, it reads none beyond `size` and allocates no more
/// than a few hundred bytes.
std::string read_checkpoint_head(
    const void* bytes,
    std::size_t size,
    uint64_t file_size,
    CheckpointHead& head);

/// The size that checkpoint_head_bytes() gives to a head.
std::size_t checkpoint_head_size(const CheckpointHead& head);

/// A running CRC-32 (of ISO 3309, as in zip and PNG); begins with 0.
uint32_t checkpoint_crc(uint32_t crc, const void* bytes, std::size_t size);

}  // namespace stepsize::detail
