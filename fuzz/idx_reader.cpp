// The reader of IDX files. The first byte says what the rest is, a file of
// images with as many labels as it promises or a pair of files, and by its
// other bits how the labels count, how the images lie and which kind the labels
// are.

#include "examples/trainer/data/idx_dataset.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "fuzz/require.h"

namespace {

using stepsize::fuzz::require;
using stepsize::trainer::FileBytes;
using stepsize::trainer::IdxDataset;
using stepsize::trainer::IdxLayout;
using Bytes = std::vector<std::uint8_t>;

constexpr std::int64_t kClasses = 10;

// What was read must be all there: each image is read.
void look_at(IdxDataset data) {
  const auto count = data.images().size(0);
  require(data.labels().size(0) == count, "images and labels differ");
  require(data.images().numel() > 0, "no image");
  require(data.labels().min().item<std::int64_t>() >= 0, "a label below 0");
  require(data.labels().max().item<std::int64_t>() < kClasses, "a high label");
  const auto example = data.get(static_cast<std::size_t>(count) - 1);
  require(example.data.max().item<float>() <= 1.0F, "a pixel above 1");
}

Bytes labels_for(const Bytes& images, bool are_ints) {
  Bytes labels = {0, 0, 8, 1, 0, 0, 0, 0};
  std::uint64_t count = 0;
  for (std::size_t i = 4; i < 8 && i < images.size(); ++i) {
    labels[i] = images[i];
    count = count << 8U | images[i];
  }
  // No file has more images than bytes, and long lists of labels take long.
  count = std::min<std::uint64_t>(count, images.size());
  if (!are_ints) {
    labels.resize(labels.size() + count, 3);
    return labels;
  }
  labels[2] = 0x0c;
  labels[3] = 2;
  labels.insert(labels.end(), {0, 0, 0, 8});
  const std::size_t head = labels.size();
  constexpr std::size_t kBytes = 8 * 4;  // eight numbers a label
  labels.resize(head + kBytes * count, 0);
  for (std::size_t i = head + 3; i < labels.size(); i += 4) labels[i] = 3;
  return labels;
}

void read(const Bytes& images, const Bytes& labels, const IdxLayout& layout) {
  try {
    look_at(IdxDataset({"images", images}, {"labels", labels}, layout));
  } catch (const std::runtime_error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(
    const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const Bytes bytes(data + 1, data + size);
  const bool counts_from_one = (data[0] & 2U) != 0;
  const bool is_transposed = (data[0] & 4U) != 0;
  const IdxLayout layout(kClasses, counts_from_one ? 1 : 0, is_transposed);
  if (data[0] % 2 == 0) {
    read(bytes, labels_for(bytes, (data[0] & 8U) != 0), layout);
  } else {
    const std::size_t half = bytes.size() / 2;
    const auto middle = bytes.begin() + static_cast<std::ptrdiff_t>(half);
    read(Bytes(bytes.begin(), middle), Bytes(middle, bytes.end()), layout);
  }
  return 0;
}
