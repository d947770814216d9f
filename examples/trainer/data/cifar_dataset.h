#pragma once

#include <torch/torch.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <vector>

#include "examples/trainer/data/byte_file.h"

namespace stepsize::trainer {

/// The two binary layouts of CIFAR. A record is the label bytes followed by
/// 3072 pixels: 32x32 red, then green, then blue, each row by row.
enum class CifarKind : std::uint8_t {
  kCifar10,   ///< one label byte, 0 .. 9
  kCifar100,  ///< a coarse label byte, 0 .. 19, then a fine one, 0 .. 99
};

/// Colour images and their labels from CIFAR-10 or CIFAR-100 binary files
/// (plain or gzip), in the order of the files. CIFAR-100 is labelled by its
/// fine labels; the coarse ones are kept beside them.
///
/// The whole set is kept in memory as bytes; get() gives one image as floats
/// in [0, 1], so that a torch::data loader can serve it.
class CifarDataset : public torch::data::datasets::Dataset<CifarDataset> {
 public:
  /// Reads the files. Throws std::runtime_error naming the file and the rule
  /// it breaks: an empty file, a size that is not a whole number of records
  /// (a truncated or foreign file), or a label out of range. Throws
  /// std::invalid_argument where no file is given.
  CifarDataset(CifarKind kind, const std::vector<std::filesystem::path>& files);

  /// The same from the contents of one file, unpacked.
  CifarDataset(CifarKind kind, const FileBytes& file);

  /// Image `index` as float [3, 32, 32] in [0, 1] and its int64 label.
  /// Throws c10::Error for an index that is not below size().
  torch::data::Example<> get(std::size_t index) override;

  // LibTorch's optional is std's own type from 2.6 on and not before.
  using Size =
      decltype(std::declval<
                   const torch::data::datasets::Dataset<CifarDataset>&>()
                   .size());
  /// Number of images.
  Size size() const override;

  /// All images: uint8 [N, 3, 32, 32].
  const torch::Tensor& images() const { return images_; }
  /// All (fine) labels: int64 [N].
  const torch::Tensor& labels() const { return labels_; }
  /// All coarse labels of CIFAR-100: int64 [N]. Undefined for CIFAR-10.
  const torch::Tensor& coarse_labels() const { return coarse_labels_; }

 private:
  torch::Tensor images_;
  torch::Tensor labels_;
  torch::Tensor coarse_labels_;
};

}  // namespace stepsize::trainer
