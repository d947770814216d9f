#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace stepsize::trainer {

/// Labelled images of one shape, whole in memory.
struct ImageSet {
  torch::Tensor images;  ///< uint8 [N, C, H, W]
  torch::Tensor labels;  ///< int64 [N]

  std::int64_t size() const { return images.size(0); }
};

/// What a run trains and tests on.
struct TrainTestSets {
  ImageSet train;
  ImageSet test;
  std::int64_t classes = 0;
  /// Lines for a person: files that were not there and that a run can do
  /// without.
  std::vector<std::string> notes;
};

/// The data sets that load_sets() knows.
std::vector<std::string> image_set_names();

/// Reads a data set by its name from a folder:
///
/// - fashion-mnist, mnist, kmnist: train-images-idx3-ubyte,
///   train-labels-idx1-ubyte, t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte;
/// - emnist-letters and the other five splits of EMNIST, qmnist: the same with
///   "emnist-letters-" or "qmnist-" before and "test" for "t10k"; QMNIST's
///   labels may end in "-idx2-int". EMNIST's images are turned upright;
/// - cifar10: those of data_batch_1.bin .. data_batch_5.bin that are there (at
///   least one; a note lists the rest) and test_batch.bin;
/// - cifar100: train.bin and test.bin.
///
/// Each may have ".gz" at its end, and "images.idx3-ubyte" is read as
/// "images-idx3-ubyte". The files may also lie below the folder, where
/// torchvision (FashionMNIST/raw) or an archive (cifar-10-batches-bin, gzip)
/// puts them. For CIFAR, `folder` may be the archive itself, or hold it.
///
/// Throws std::runtime_error naming the path and the rule where the folder or
/// a file is missing or bad, or where the shapes of the training and test
/// images differ; std::invalid_argument for an unknown name.
TrainTestSets load_sets(
    const std::string& name, const std::filesystem::path& folder);

}  // namespace stepsize::trainer
