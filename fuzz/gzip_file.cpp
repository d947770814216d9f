// The reader of files that may be gzip: it gives the bytes, or says what is
// wrong.

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "examples/trainer/data/byte_file.h"
#include "fuzz/memory_file.h"
#include "fuzz/require.h"

extern "C" int LLVMFuzzerTestOneInput(
    const std::uint8_t* data, std::size_t size) {
  const std::vector<std::uint8_t> bytes(data, data + size);
  const stepsize::fuzz::MemoryFile file(bytes);
  try {
    const auto unpacked = stepsize::trainer::read_bytes(file.path());
    const bool is_gzip = size >= 2 && data[0] == 0x1F && data[1] == 0x8B;
    stepsize::fuzz::require(is_gzip || unpacked == bytes, "other bytes");
  } catch (const std::runtime_error&) {
  }
  return 0;
}
