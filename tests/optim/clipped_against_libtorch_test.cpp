#include <gtest/gtest.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <torch/torch.h>

#include <limits>
#include <string>
#include <tuple>
#include <vector>

#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

constexpr int kSteps = 1000;

// Two parameters with the gradients of a noisy quadratic. It contracts, so that
// differences of rounding do not grow.
struct Problem {
  explicit Problem(torch::Dtype type) {
    torch::manual_seed(3);
    const auto options = torch::TensorOptions(torch::kFloat64);
    for (const auto& shape : {std::vector<int64_t>{7, 5}, {11}}) {
      const auto start = torch::randn(shape, options);
      parameters.push_back(start.to(type).set_requires_grad(true));
      curvatures.push_back((torch::rand(shape, options) + 0.1).to(type));
      noises.push_back(
          (torch::randn({kSteps, start.numel()}, options) * 0.1).to(type));
    }
  }

  void set_gradients(int step) {
    const torch::NoGradGuard no_grad;
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const auto noise = noises[i][step].view(parameters[i].sizes());
      parameters[i].mutable_grad() =
          curvatures[i] * (parameters[i] - 0.5) + noise;
    }
  }

  std::vector<torch::Tensor> parameters;
  std::vector<torch::Tensor> curvatures;
  std::vector<torch::Tensor> noises;
};

template <typename Ours, typename Theirs, typename Options, typename Reference>
void expect_same_way(
    torch::Dtype type, const Options& options, const Reference& reference) {
  Problem mine(type);
  Problem other(type);
  Ours ours(mine.parameters, options);
  Theirs theirs(other.parameters, reference);
  for (int step = 0; step < kSteps; ++step) {
    mine.set_gradients(step);
    ours.step();
    other.set_gradients(step);
    theirs.step();
  }
  const double tolerance = type == torch::kFloat64 ? 1e-13 : 1e-6;
  for (std::size_t i = 0; i < mine.parameters.size(); ++i) {
    const auto reached = other.parameters[i].detach();
    const double scale = reached.abs().max().item<double>();
    EXPECT_LE(
        (mine.parameters[i].detach() - reached).abs().max().item<double>(),
        tolerance * scale)
        << "parameter " << i;
  }
  EXPECT_EQ(ours.clipped_steps(), 0);
}

using Flags = std::tuple<torch::Dtype, double, double, double, bool>;

class SGDOptionsGrid : public testing::TestWithParam<Flags> {};

TEST_P(SGDOptionsGrid, WithoutClippingIsLibTorchsSGD) {
  const auto [type, momentum, dampening, weight_decay, nesterov] = GetParam();
  if (nesterov && (momentum == 0 || dampening != 0)) {
    EXPECT_THROW(
        ClippedSGD(
            Problem(type).parameters,
            ClippedSGDOptions(0.1)
                .momentum(momentum)
                .dampening(dampening)
                .nesterov(true)),
        c10::Error);
    return;
  }
  expect_same_way<ClippedSGD, torch::optim::SGD>(
      type,
      ClippedSGDOptions(0.1)
          .momentum(momentum)
          .dampening(dampening)
          .weight_decay(weight_decay)
          .nesterov(nesterov)
          .max_norm(kInfinity),
      torch::optim::SGDOptions(0.1)
          .momentum(momentum)
          .dampening(dampening)
          .weight_decay(weight_decay)
          .nesterov(nesterov));
}

INSTANTIATE_TEST_SUITE_P(
    All,
    SGDOptionsGrid,
    testing::Combine(
        testing::Values(torch::kFloat32, torch::kFloat64),
        testing::Values(0.0, 0.9),
        testing::Values(0.0, 0.3),
        testing::Values(0.0, 0.01),
        testing::Bool()));

class AdamWOptionsGrid
    : public testing::TestWithParam<std::tuple<torch::Dtype, double, bool>> {};

TEST_P(AdamWOptionsGrid, WithoutClippingIsLibTorchsAdamW) {
  const auto [type, weight_decay, amsgrad] = GetParam();
  // The reciprocals of LibTorch's float32 bias corrections are rounded; an eps
  // that is not tiny keeps that from being divided by nearly nothing.
  expect_same_way<ClippedAdamW, torch::optim::AdamW>(
      type,
      ClippedAdamWOptions(0.01)
          .betas({0.8, 0.99})
          .eps(1e-6)
          .weight_decay(weight_decay)
          .amsgrad(amsgrad)
          .max_norm(kInfinity),
      torch::optim::AdamWOptions(0.01)
          .betas({0.8, 0.99})
          .eps(1e-6)
          .weight_decay(weight_decay)
          .amsgrad(amsgrad));
}

INSTANTIATE_TEST_SUITE_P(
    All,
    AdamWOptionsGrid,
    testing::Combine(
        testing::Values(torch::kFloat32, torch::kFloat64),
        testing::Values(0.0, 0.1),
        testing::Bool()));

TEST(ClippedSGD, ClipsAsScaledGradientsWould) {
  Problem mine(torch::kFloat64);
  Problem other(torch::kFloat64);
  constexpr double kMaxNorm = 0.7;
  ClippedSGD ours(
      mine.parameters,
      ClippedSGDOptions(0.1).momentum(0.9).weight_decay(0.01).max_norm(
          kMaxNorm));
  torch::optim::SGD theirs(
      other.parameters,
      torch::optim::SGDOptions(0.1).momentum(0.9).weight_decay(0.01));
  int clipped = 0;
  for (int step = 0; step < kSteps; ++step) {
    mine.set_gradients(step);
    ours.step();
    other.set_gradients(step);
    double squares = 0;
    for (const auto& parameter : other.parameters) {
      squares += parameter.grad().square().sum().item<double>();
    }
    const double norm = std::sqrt(squares);
    EXPECT_NEAR(ours.last_grad_norm(), norm, 1e-9 * norm);
    if (norm > kMaxNorm) {
      ++clipped;
      for (auto& parameter : other.parameters) {
        parameter.mutable_grad().mul_(kMaxNorm / norm);
      }
    }
    theirs.step();
  }
  EXPECT_GT(clipped, 100);
  EXPECT_LT(clipped, kSteps);
  EXPECT_EQ(ours.clipped_steps(), clipped);
  for (std::size_t i = 0; i < mine.parameters.size(); ++i) {
    EXPECT_TRUE(
        torch::allclose(mine.parameters[i], other.parameters[i], 1e-12, 1e-12));
  }
}

}  // namespace
}  // namespace stepsize::test
