// The reader of CIFAR files. The first byte chooses CIFAR-10 or CIFAR-100, and
// whether the rest is the file as it came or labels, each of which makes a
// record, so that a short input is a file that is read.

#include "examples/trainer/data/cifar_dataset.h"

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "fuzz/require.h"

namespace {

using stepsize::fuzz::require;
using stepsize::trainer::CifarDataset;
using stepsize::trainer::CifarKind;
using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t kPixels = 3072;

// The second byte says how many bytes are labels, the third how many bytes too
// many there are; the others are labels, one record each.
Bytes file_of(const std::uint8_t* data, std::size_t size) {
  Bytes bytes;
  const std::size_t labels = 1 + data[1] % 2;
  for (std::size_t i = 3; i + labels <= size && i < 64; i += labels) {
    bytes.insert(bytes.end(), data + i, data + i + labels);
    bytes.insert(bytes.end(), kPixels, data[i]);
  }
  bytes.insert(bytes.end(), data[2] % 4, 7);
  return bytes;
}

void look_at(CifarDataset data, std::int64_t classes) {
  const auto count = data.images().size(0);
  require(count > 0 && data.labels().size(0) == count, "the counts differ");
  require(data.labels().max().item<std::int64_t>() < classes, "a high label");
  const auto example = data.get(static_cast<std::size_t>(count) - 1);
  require(example.data.numel() == 3072, "an image of another size");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(
    const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const bool fine = data[0] % 2 == 1;
  const CifarKind kind = fine ? CifarKind::kCifar100 : CifarKind::kCifar10;
  // As it came, too: the size decides what is refused.
  const bool as_it_came = data[0] % 4 >= 2;
  const Bytes bytes =
      as_it_came ? Bytes(data + 1, data + size) : file_of(data, size);
  try {
    look_at(CifarDataset(kind, {"file", bytes}), fine ? 100 : 10);
  } catch (const std::runtime_error&) {
  }
  return 0;
}
