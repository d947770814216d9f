// How far images are from real ones.
#pragma once

#include <stepsize/stepsize.h>
#include <torch/torch.h>

#include "../recipes/fashion_mnist.h"

namespace applications {

/// [N, 784], from 0 to 1.
inline torch::Tensor pixels_of(const recipes::Images& images) {
  return images.pixels.flatten(1).mul(90.02).add(72.94).div(255);
}

/// The Frechet distance between two sets of features, [N, F], as if each were
/// normal (Heusel et al. 2017).
inline double frechet_distance(const torch::Tensor& a, const torch::Tensor& b) {
  const auto mean_a = a.mean(0);
  const auto mean_b = b.mean(0);
  const auto covariance = [](const torch::Tensor& x,
                             const torch::Tensor& mean) {
    return (x - mean).t().matmul(x - mean) / double(x.size(0) - 1);
  };
  const auto root = [](const torch::Tensor& matrix) {
    const auto parts = torch::linalg_eigh(matrix);
    return std::get<1>(parts)
        .mul(std::get<0>(parts).clamp_min(0).sqrt())
        .matmul(std::get<1>(parts).t());
  };
  const auto of_a = covariance(a, mean_a);
  const auto of_b = covariance(b, mean_b);
  const auto root_a = root(of_a);
  const auto cross = root(root_a.matmul(of_b).matmul(root_a));
  return ((mean_a - mean_b).square().sum() + of_a.trace() + of_b.trace() -
          2 * cross.trace())
      .item<double>();
}

/// A classifier, whose last but one layer makes the features.
inline torch::nn::Sequential train_features(const recipes::Images& train) {
  constexpr int64_t kBatch = 64;
  torch::manual_seed(0);
  torch::nn::Sequential features(
      torch::nn::Linear(784, 128),
      torch::nn::ReLU(),
      torch::nn::Linear(128, 32),
      torch::nn::Tanh());
  torch::nn::Linear head(32, 10);
  auto parameters = features->parameters();
  for (const auto& each : head->parameters()) parameters.push_back(each);
  stepsize::ClippedAdamW optimizer(
      parameters, stepsize::ClippedAdamWOptions(2e-3));
  const int64_t updates = 3 * train.size() / kBatch;
  stepsize::ScheduleLR scheduler(
      optimizer, stepsize::one_cycle(double(updates)));
  for (int64_t i = 0; i < updates; ++i) {
    const auto batch =
        train.at(torch::randint(train.size(), {kBatch}, torch::kInt64));
    optimizer.zero_grad();
    torch::nn::functional::cross_entropy(
        head->forward(features->forward(pixels_of(batch))), batch.labels)
        .backward();
    optimizer.step();
    scheduler.step();
  }
  for (auto& each : features->parameters()) each.set_requires_grad(false);
  return features;
}

}  // namespace applications
