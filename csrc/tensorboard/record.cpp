#include "csrc/tensorboard/record.h"

#include <array>
#include <cstddef>

namespace stepsize::tensorboard {
namespace {

using Table = std::array<std::uint32_t, 256>;

// What each byte does to the sum. Debian 12 has no library of CRC-32C for C++,
// and zlib has another polynomial.
constexpr Table make_table() {
  Table table{};
  for (std::uint32_t byte = 0; byte < table.size(); ++byte) {
    std::uint32_t sum = byte;
    for (int bit = 0; bit < 8; ++bit) {
      sum = sum >> 1U ^ ((sum & 1U) != 0 ? 0x82f63b78U : 0U);
    }
    table[byte] = sum;
  }
  return table;
}

constexpr Table kTable = make_table();

std::string little_endian(std::uint64_t value, std::size_t size) {
  std::string bytes;
  for (std::size_t i = 0; i < size; ++i) {
    bytes.push_back(static_cast<char>(value >> (8 * i) & 0xffU));
  }
  return bytes;
}

std::string masked_sum(const std::string& bytes) {
  const std::uint32_t sum = crc32c(bytes);
  return little_endian((sum >> 15U | sum << 17U) + 0xa282ead8U, 4);
}

}  // namespace

std::uint32_t crc32c(const std::string& bytes) {
  std::uint32_t sum = 0xffffffffU;
  for (const char byte : bytes) {
    sum = kTable[(sum ^ static_cast<unsigned char>(byte)) & 0xffU] ^ sum >> 8U;
  }
  return ~sum;
}

std::string record_of(const std::string& bytes) {
  const std::string length = little_endian(bytes.size(), 8);
  return length + masked_sum(length) + bytes + masked_sum(bytes);
}

}  // namespace stepsize::tensorboard
