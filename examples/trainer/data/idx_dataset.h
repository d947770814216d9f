#pragma once

#include <torch/torch.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>

#include "examples/trainer/data/byte_file.h"

namespace stepsize::trainer {

/// How a data set uses IDX files.
struct IdxLayout {
  // A number of classes alone is the layout of MNIST.
  IdxLayout(
      std::int64_t class_count,
      std::int64_t smallest_label = 0,
      bool columns_first = false)
      : classes(class_count),
        first_label(smallest_label),
        transposed(columns_first) {}

  std::int64_t classes;  ///< 1 .. 256
  /// What the first class is called in the file: EMNIST's letters count from
  /// 1. 0 .. 255.
  std::int64_t first_label;
  /// Whether an image lies in the file column by column, as EMNIST's do; it is
  /// turned upright.
  bool transposed;
};

/// Grey images and their labels from a pair of IDX files, the layout of MNIST
/// and its kin, plain or gzip.
///
/// An IDX file is big-endian: a magic number (0x00000803 for images, 0x00000801
/// for labels), one 32-bit size for each dimension, then one byte a value.
/// Labels may also be those of QMNIST: 0x00000c02, [N, 8] 32-bit integers, the
/// class first. Either way they count from 0 here.
/// The whole set is kept in memory as bytes; get() gives one image as floats
/// in [0, 1], so that a torch::data loader can serve it.
class IdxDataset : public torch::data::datasets::Dataset<IdxDataset> {
 public:
  /// Reads both files. Throws std::runtime_error naming the file and the rule
  /// it breaks: a foreign magic number, a size that is 0 or does not match the
  /// bytes, a different number of images and labels, or a label that is none
  /// of the layout's. Throws std::invalid_argument where a number of the layout
  /// is out of its range.
  IdxDataset(
      const std::filesystem::path& images,
      const std::filesystem::path& labels,
      const IdxLayout& layout);

  /// The same from the contents of the two files, unpacked.
  IdxDataset(
      const FileBytes& images,
      const FileBytes& labels,
      const IdxLayout& layout);

  /// Image `index` as float [1, H, W] in [0, 1] and its int64 label.
  /// Throws c10::Error for an index that is not below size().
  torch::data::Example<> get(std::size_t index) override;

  // LibTorch's optional is std's own type from 2.6 on and not before.
  using Size =
      decltype(std::declval<const torch::data::datasets::Dataset<IdxDataset>&>()
                   .size());
  /// Number of images.
  Size size() const override;

  /// All images: uint8 [N, 1, H, W].
  const torch::Tensor& images() const { return images_; }
  /// All labels: int64 [N].
  const torch::Tensor& labels() const { return labels_; }

 private:
  void take(
      const FileBytes& images,
      const FileBytes& labels,
      const IdxLayout& layout);

  torch::Tensor images_;
  torch::Tensor labels_;
};

}  // namespace stepsize::trainer
