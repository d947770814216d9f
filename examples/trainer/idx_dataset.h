#pragma once

#include <torch/torch.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>

#include "byte_file.h"

namespace stepsize::trainer {

/// Grey images and their labels from a pair of IDX files, the layout of MNIST
/// and Fashion-MNIST, plain or gzip.
///
/// An IDX file is big-endian: a magic number (0x00000803 for images, 0x00000801
/// for labels), one 32-bit size for each dimension, then one byte a value.
/// The whole set is kept in memory as bytes; get() gives one image as floats
/// in [0, 1], so that a torch::data loader can serve it.
class IdxDataset : public torch::data::datasets::Dataset<IdxDataset> {
 public:
  /// Reads both files. Throws std::runtime_error naming the file and the rule
  /// it breaks: a foreign magic number, a size that is 0 or does not match the
  /// bytes, a different number of images and labels, or a label that is not
  /// below `classes`. Throws std::invalid_argument where `classes` is not in
  /// 1 .. 256.
  IdxDataset(
      const std::filesystem::path& images,
      const std::filesystem::path& labels,
      std::int64_t classes);

  /// The same from the contents of the two files, unpacked.
  IdxDataset(
      const FileBytes& images, const FileBytes& labels, std::int64_t classes);

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
      const FileBytes& images, const FileBytes& labels, std::int64_t classes);

  torch::Tensor images_;
  torch::Tensor labels_;
};

}  // namespace stepsize::trainer
