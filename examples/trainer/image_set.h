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

/// Reads a data set by its name ("fashion-mnist", "cifar10" or "cifar100")
/// from a folder:
///
/// - fashion-mnist: train-images-idx3-ubyte, train-labels-idx1-ubyte,
///   t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each with or without
///   ".gz";
/// - cifar10: those of data_batch_1.bin .. data_batch_5.bin that are there (at
///   least one; a note lists the rest) and test_batch.bin;
/// - cifar100: train.bin and test.bin.
///
/// The CIFAR files may also lie in the folder that their archive unpacks to
/// (cifar-10-batches-bin, cifar-100-binary) below the one given.
///
/// Throws std::runtime_error naming the path and the rule where the folder or
/// a file is missing or bad, or where the shapes of the training and test
/// images differ; std::invalid_argument for an unknown name.
TrainTestSets load_sets(
    const std::string& name, const std::filesystem::path& folder);

}  // namespace stepsize::trainer
