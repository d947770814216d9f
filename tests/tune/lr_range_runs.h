#pragma once

#include <stepsize/optim/auto_sgd.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <stepsize/tune/lr_range_test.h>
#include <torch/torch.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/leaf.h"

namespace stepsize::test {

using MakeOptimizer = std::function<std::unique_ptr<torch::optim::Optimizer>(
    std::vector<torch::Tensor>)>;

struct NamedOptimizer {
  std::string name;
  MakeOptimizer make;
};

/// A class that this library does not know, with save() and load() of its
/// base's.
class UsersSGD : public torch::optim::SGD {
 public:
  using torch::optim::SGD::SGD;
};

template <typename Optimizer, typename Options>
NamedOptimizer named(const std::string& name, const Options& options) {
  return {name, [options](std::vector<torch::Tensor> parameters) {
            return std::make_unique<Optimizer>(std::move(parameters), options);
          }};
}

/// Every class that a snapshot knows, and one that it does not.
inline std::vector<NamedOptimizer> optimizer_table() {
  namespace optim = torch::optim;
  return {
      named<optim::SGD>("SGD", optim::SGDOptions(0.05)),
      named<optim::SGD>("SGD momentum", optim::SGDOptions(0.05).momentum(0.9)),
      named<optim::Adam>("Adam", optim::AdamOptions(0.01)),
      named<optim::AdamW>(
          "AdamW amsgrad", optim::AdamWOptions(0.01).amsgrad(true)),
      named<optim::RMSprop>(
          "RMSprop", optim::RMSpropOptions(0.01).momentum(0.5).centered(true)),
      named<optim::Adagrad>("Adagrad", optim::AdagradOptions(0.05)),
      named<optim::LBFGS>(
          "LBFGS", optim::LBFGSOptions(0.1).max_iter(3).history_size(4)),
      named<UsersSGD>("UsersSGD", optim::SGDOptions(0.05).momentum(0.9)),
      named<ClippedSGD>("ClippedSGD", ClippedSGDOptions(0.05).momentum(0.9)),
      named<ClippedAdamW>("ClippedAdamW", ClippedAdamWOptions(0.01)),
      named<RollbackSGD>("RollbackSGD", RollbackSGDOptions(0.05).momentum(0.9)),
      named<PowerMethodSGD>(
          "PowerMethodSGD",
          PowerMethodSGDOptions().momentum(0.5).start_products(3)),
      named<AutoSGD>("AutoSGD", AutoSGDOptions()),
  };
}

/// A small network with running statistics and random masks.
inline torch::nn::Sequential small_net() {
  return torch::nn::Sequential(
      torch::nn::Linear(6, 8),
      torch::nn::BatchNorm1d(8),
      torch::nn::ReLU(),
      torch::nn::Dropout(0.3),
      torch::nn::Linear(8, 3));
}

/// The loss on a batch drawn from the default generator.
inline torch::Tensor random_loss(torch::nn::Sequential& net) {
  const auto x = torch::randn({16, 6});
  const auto y = x.slice(1, 0, 3).argmax(1);
  return torch::nn::functional::cross_entropy(net->forward(x), y);
}

/// loss = 1/2 |w|^2, curvature 1: w <- (1 - lr) w.
class UnitBowl {
 public:
  torch::Tensor w = leaf({3, 4});
  torch::optim::SGD optimizer{{w}, torch::optim::SGDOptions(0.5)};

  torch::Tensor operator()() {
    auto loss = w.square().sum() / 2;
    loss.backward();
    return loss;
  }

  LRRangeTestResult test(const LRRangeTestOptions& options = {}) {
    return lr_range_test(
        {w}, optimizer, [this] { return (*this)(); }, options);
  }
};

/// Copies of tensors.
inline std::vector<torch::Tensor> copies(
    const std::vector<torch::Tensor>& tensors) {
  std::vector<torch::Tensor> copied;
  for (const auto& tensor : tensors) {
    copied.push_back(tensor.defined() ? tensor.detach().clone() : tensor);
  }
  return copied;
}

/// Whether two lists are equal bit for bit; NaN is not met here.
inline bool same_bits(
    const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (a[i].defined() != b[i].defined()) return false;
    if (a[i].defined() && !torch::equal(a[i], b[i])) return false;
  }
  return true;
}

}  // namespace stepsize::test
