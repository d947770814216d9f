// Reads Fashion-MNIST, so that each recipe can be about something else.
#pragma once

#include <torch/torch.h>
#include <zlib.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "argument.h"

namespace recipes {

/// Images [N, 1, 28, 28] with mean 0 and deviation 1, and labels [N].
struct Images {
  torch::Tensor pixels;
  torch::Tensor labels;

  int64_t size() const { return labels.size(0); }
  Images at(const torch::Tensor& index) const {
    return {pixels.index_select(0, index), labels.index_select(0, index)};
  }
};

/// The values of an IDX file, plain or with gzip: four bytes that give the
/// number of dimensions, the sizes, then one byte a value. Where Debian's
/// package dataset-fashion-mnist is not installed the program ends with 77,
/// which ctest takes for a skipped test.
inline torch::Tensor read_idx(const std::string& name, int64_t dimensions) {
  const std::string path = "/usr/share/datasets/fashion-mnist/" + name + ".gz";
  const gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) {
    std::cerr << "there is no " << path
              << ": install Debian's package dataset-fashion-mnist\n";
    std::exit(77);
  }
  std::vector<unsigned char> head(static_cast<std::size_t>(4 + 4 * dimensions));
  const auto head_size = static_cast<unsigned>(head.size());
  bool whole = gzread(file, head.data(), head_size) == int(head_size);
  std::vector<int64_t> sizes;
  for (std::size_t i = 4; i < head.size(); i += 4) {
    sizes.push_back(
        head[i] << 24 | head[i + 1] << 16 | head[i + 2] << 8 | head[i + 3]);
  }
  auto values =
      torch::empty(whole ? sizes : std::vector<int64_t>{0}, torch::kByte);
  const auto bytes = static_cast<unsigned>(values.numel());
  whole = whole && gzread(file, values.data_ptr(), bytes) == int(bytes);
  gzclose(file);
  if (!whole) {
    std::cerr << path << " is cut off\n";
    std::exit(1);
  }
  return values;
}

/// The first `count` of the 60000 training images, or of the 10000 test images.
inline Images fashion_mnist(bool train, int64_t count) {
  const std::string name = train ? "train" : "t10k";
  const auto pixels = read_idx(name + "-images-idx3-ubyte", 3);
  const auto labels = read_idx(name + "-labels-idx1-ubyte", 1);
  count = std::min(count, labels.size(0));
  // Mean and deviation of the training images.
  const auto scaled =
      (pixels.slice(0, 0, count).to(torch::kFloat) - 72.94) / 90.02;
  return {scaled.unsqueeze(1), labels.slice(0, 0, count).to(torch::kInt64)};
}

/// The share of images that the model tells right.
template <typename Model>
double accuracy(Model& model, const Images& images) {
  const torch::NoGradGuard no_grad;
  model->eval();
  int64_t right = 0;
  for (int64_t i = 0; i < images.size(); i += 1000) {
    const auto index = torch::arange(i, std::min(i + 1000, images.size()));
    const auto part = images.at(index);
    right += model->forward(part.pixels)
                 .argmax(1)
                 .eq(part.labels)
                 .sum()
                 .template item<int64_t>();
  }
  model->train();
  return double(right) / double(images.size());
}

}  // namespace recipes
