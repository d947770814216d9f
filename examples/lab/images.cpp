#include "images.h"

#include <ATen/Functions.h>

#include <filesystem>

#include "examples/trainer/data/idx_dataset.h"

namespace stepsize::lab {

Images small_images(int64_t count) {
  const std::filesystem::path folder = "/usr/share/datasets/fashion-mnist";
  if (!std::filesystem::exists(folder)) {
    throw MissingData(
        "there is no " + folder.string() +
        ": install Debian's package dataset-fashion-mnist");
  }
  const trainer::IdxDataset data(
      folder / "train-images-idx3-ubyte.gz",
      folder / "train-labels-idx1-ubyte.gz",
      10);
  const auto images = data.images().slice(0, 0, count).to(at::kDouble);
  const auto pixels = at::adaptive_avg_pool2d(images, {8, 8}).flatten(1);
  const auto labels = data.labels().slice(0, 0, count);
  return {
      (pixels - pixels.mean(0)) / pixels.std(0),
      at::one_hot(labels, 10).to(at::kDouble)};
}

}  // namespace stepsize::lab
