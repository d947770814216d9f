// The reader of tar archives: each member lies within the file.

#include "examples/trainer/data/tar_file.h"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <vector>

#include "fuzz/require.h"

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kBlock = 512;

// Writes the sum that each block would have as a header, so that the reader
// comes further than the first of them.
void set_sums(Bytes& bytes) {
  for (std::size_t at = 0; at + kBlock <= bytes.size(); at += kBlock) {
    unsigned sum = 0;
    for (std::size_t i = 0; i < kBlock; ++i) {
      sum += i >= 148 && i < 156 ? ' ' : bytes[at + i];
    }
    if (sum == 8 * ' ') continue;  // zeros, the end
    char text[8];
    std::snprintf(text, sizeof text, "%06o", sum);
    for (std::size_t i = 0; i < 7; ++i) {
      bytes[at + 148 + i] = static_cast<std::uint8_t>(text[i]);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(
    const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  Bytes bytes(data + 1, data + size);
  if (data[0] % 2 == 1) set_sums(bytes);
  const stepsize::trainer::FileBytes archive("archive", bytes);
  try {
    for (const auto& member : stepsize::trainer::tar_members(archive)) {
      const auto file = stepsize::trainer::extract(archive, member);
      stepsize::fuzz::require(
          file.bytes.size() == member.size &&
              member.offset + member.size <= bytes.size(),
          "a member beyond the file");
    }
  } catch (const std::runtime_error&) {
  }
  return 0;
}
