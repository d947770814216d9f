#include "csrc/checkpoint/container.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

namespace stepsize::detail {
namespace {

constexpr std::array<unsigned char, 8> kMagic = {
    0x89, 'S', 'S', 'Z', 0x0D, 0x0A, 0x1A, 0x0A};
// As far as every version of the format is the same.
constexpr std::size_t kCommonSize = 16;
constexpr std::size_t kFixedSize = 40;
constexpr std::size_t kCrcSize = 4;

template <typename Int>
void append(std::string& bytes, Int value) {
  for (std::size_t i = 0; i < sizeof(Int); ++i) {
    bytes.push_back(static_cast<char>((value >> (8 * i)) & 0xFF));
  }
}

template <typename Int>
Int number_at(const unsigned char* bytes, std::size_t offset) {
  Int value = 0;
  for (std::size_t i = 0; i < sizeof(Int); ++i) {
    value |= static_cast<Int>(bytes[offset + i]) << (8 * i);
  }
  return value;
}

std::size_t text_size(const CheckpointHead& head) {
  return std::min(
      head.torch_version.size(), kMostHeadSize - kFixedSize - kCrcSize);
}

// Why the first bytes are not the magic ones.
std::string fault_of_magic(const unsigned char* bytes, std::size_t size) {
  const std::size_t there = std::min(size, kMagic.size());
  if (std::equal(bytes, bytes + there, kMagic.begin())) {
    return "is cut off within its head";
  }
  // What a transfer as text makes of the line ends, or of the first byte.
  const bool named = size >= 4 && std::memcmp(bytes + 1, "SSZ", 3) == 0;
  return named ? "was damaged, perhaps by a transfer as text"
               : "is no checkpoint of stepsize";
}

}  // namespace

uint32_t checkpoint_crc(uint32_t crc, const void* bytes, std::size_t size) {
  constexpr std::size_t kMost = std::size_t{1} << 30;
  const auto* next = static_cast<const Bytef*>(bytes);
  while (size > 0) {
    const std::size_t part = std::min(size, kMost);
    crc = static_cast<uint32_t>(::crc32(crc, next, static_cast<uInt>(part)));
    next += part;
    size -= part;
  }
  return crc;
}

std::size_t checkpoint_head_size(const CheckpointHead& head) {
  return kFixedSize + text_size(head) + kCrcSize;
}

std::string checkpoint_head_bytes(const CheckpointHead& head) {
  std::string bytes(kMagic.begin(), kMagic.end());
  append(bytes, head.format);
  append(bytes, static_cast<uint32_t>(checkpoint_head_size(head)));
  append(bytes, head.index_size);
  append(bytes, head.data_size);
  append(bytes, head.index_crc);
  append(bytes, head.data_crc);
  bytes.append(head.torch_version, 0, text_size(head));
  append(bytes, checkpoint_crc(0, bytes.data(), bytes.size()));
  return bytes;
}

std::string read_checkpoint_head(
    const void* bytes,
    std::size_t size,
    uint64_t file_size,
    CheckpointHead& head) {
  const auto* data = static_cast<const unsigned char*>(bytes);
  if (file_size == 0 || size == 0) return "is empty";
  if (size < kMagic.size() || !std::equal(kMagic.begin(), kMagic.end(), data)) {
    return fault_of_magic(data, size);
  }
  const std::string cut = "is cut off within its head";
  if (size < kCommonSize) return cut;
  const auto format = number_at<uint32_t>(data, 8);
  const bool is_ours = format == kCheckpointFormat;
  const std::size_t head_size = number_at<uint32_t>(data, 12);
  if (head_size < kCommonSize + kCrcSize ||
      (is_ours && head_size > kMostHeadSize)) {
    return "is damaged: its head cannot be of " + std::to_string(head_size) +
           " bytes";
  }
  if (head_size > file_size || (is_ours && head_size > size)) return cut;
  const std::size_t crc_at = head_size - kCrcSize;
  if (head_size <= size &&
      number_at<uint32_t>(data, crc_at) != checkpoint_crc(0, data, crc_at)) {
    return "is damaged: the checksum of its head is wrong";
  }
  if (!is_ours) {
    head.is_of_other_format = true;
    return "is of format " + std::to_string(format) +
           ", this version of stepsize reads format " +
           std::to_string(kCheckpointFormat);
  }
  if (head_size < kFixedSize + kCrcSize) {
    return "is damaged: its head is too short";
  }
  head.format = format;
  head.index_size = number_at<uint64_t>(data, 16);
  head.data_size = number_at<uint64_t>(data, 24);
  head.index_crc = number_at<uint32_t>(data, 32);
  head.data_crc = number_at<uint32_t>(data, 36);
  head.torch_version.assign(
      reinterpret_cast<const char*>(data) + kFixedSize, crc_at - kFixedSize);
  const uint64_t rest = file_size - head_size;
  if (head.index_size > std::numeric_limits<uint64_t>::max() - head.data_size) {
    return "is damaged: its sizes cannot be";
  }
  const uint64_t told = head.index_size + head.data_size;
  if (told > rest) {
    return "is cut off: " + std::to_string(told - rest) + " bytes are missing";
  }
  if (told < rest) {
    return "is damaged: " + std::to_string(rest - told) +
           " bytes follow its end";
  }
  return {};
}

}  // namespace stepsize::detail
