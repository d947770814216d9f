#include "examples/trainer/model/cnn.h"

#include <stepsize/distributed/sync_batch_norm.h>

namespace stepsize::trainer {

Cnn::Cnn(const ImageShape& shape) {
  // Three poolings divide each side by 8.
  constexpr std::int64_t kReduction = 8;
  TORCH_CHECK(
      shape.height >= kReduction && shape.width >= kReduction,
      "Cnn: images must be at least 8x8, got ",
      shape.height,
      "x",
      shape.width);
  std::int64_t channels = shape.channels;
  for (const std::int64_t width : {32, 64, 128}) {
    // BatchNorm takes the mean away, and a bias with it.
    features_->push_back(torch::nn::Conv2d(
        torch::nn::Conv2dOptions(channels, width, 3).padding(1).bias(false)));
    features_->push_back(SyncBatchNorm(width));
    features_->push_back(
        torch::nn::ReLU(torch::nn::ReLUOptions().inplace(true)));
    features_->push_back(torch::nn::MaxPool2d(2));
    channels = width;
  }
  register_module("features", features_);
  head_ = register_module(
      "head",
      torch::nn::Linear(
          channels * (shape.height / kReduction) * (shape.width / kReduction),
          shape.classes));
}

torch::Tensor Cnn::forward(torch::Tensor images) {
  return head_(features_->forward(images).flatten(1));
}

}  // namespace stepsize::trainer
