#pragma once

#include <torch/nn.h>

#include <cstdint>
#include <vector>

namespace stepsize::benchmarks {

/// A network and one batch of inputs with their classes.
struct Problem {
  torch::nn::Sequential net;
  torch::Tensor inputs;
  torch::Tensor classes = torch::randint(10, {inputs.size(0)}, torch::kLong);

  torch::Tensor loss() {
    return torch::cross_entropy_loss(net->forward(inputs), classes);
  }
  std::vector<torch::Tensor> parameters() const { return net->parameters(); }
};

/// 64-32-10, 2 thousand parameters: what a step costs beside the arithmetic.
inline Problem make_small_mlp(int64_t batch) {
  torch::manual_seed(1);
  return {
      torch::nn::Sequential(
          torch::nn::Linear(64, 32),
          torch::nn::Tanh(),
          torch::nn::Linear(32, 10)),
      torch::randn({batch, 64})};
}

/// 784-512-512-10, 670 thousand parameters.
inline Problem make_mlp(int64_t batch) {
  torch::manual_seed(1);
  return {
      torch::nn::Sequential(
          torch::nn::Linear(784, 512),
          torch::nn::Tanh(),
          torch::nn::Linear(512, 512),
          torch::nn::Tanh(),
          torch::nn::Linear(512, 10)),
      torch::randn({batch, 784})};
}

/// Three convolutions with BatchNorm over 28 x 28 pixels, 24 thousand
/// parameters.
inline Problem make_cnn(int64_t batch) {
  torch::manual_seed(1);
  const auto convolution = [](int64_t in, int64_t out) {
    return torch::nn::Conv2d(
        torch::nn::Conv2dOptions(in, out, 3).padding(1).bias(false));
  };
  return {
      torch::nn::Sequential(
          convolution(1, 16),
          torch::nn::BatchNorm2d(16),
          torch::nn::ReLU(),
          torch::nn::MaxPool2d(2),
          convolution(16, 32),
          torch::nn::BatchNorm2d(32),
          torch::nn::ReLU(),
          torch::nn::MaxPool2d(2),
          convolution(32, 64),
          torch::nn::BatchNorm2d(64),
          torch::nn::ReLU(),
          torch::nn::AdaptiveAvgPool2d(1),
          torch::nn::Flatten(),
          torch::nn::Linear(64, 10)),
      torch::randn({batch, 1, 28, 28})};
}

}  // namespace stepsize::benchmarks
