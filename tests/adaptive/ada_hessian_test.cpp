#include <stepsize/adaptive/ada_hessian.h>

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <memory>
#include <tuple>
#include <vector>

#include "tests/adaptive/layerwise.h"
#include "tests/adaptive/optimizer_golden.h"
#include "tests/support/leaf.h"

namespace stepsize::test {
namespace {

// Its tensor operations, on a CPU.
class AdaHessianByOperations : public AdaHessian {
 public:
  using AdaHessian::step_by_operations;
};

void expect_follows_ada_hessian(
    const std::string& name, const AdaHessianOptions& options) {
  expect_follows_golden(
      name, [&](const std::vector<torch::Tensor>& parameters) {
        const auto optimizer =
            std::make_shared<AdaHessian>(parameters, options);
        return GoldenRun{
            [optimizer](GoldenProblem& problem) {
              optimizer->step([&] { return problem.loss(); });
            },
            nullptr};
      });
}

TEST(AdaHessian, HasThePapersDefaults) {
  const AdaHessianOptions options;
  EXPECT_EQ(options.lr(), 0.15);
  EXPECT_EQ(options.betas(), std::make_tuple(0.9, 0.999));
  EXPECT_EQ(options.eps(), 1e-4);
  EXPECT_EQ(options.hessian_power(), 1);
  EXPECT_TRUE(options.spatial_averaging());
  EXPECT_EQ(options.interval(), 1);
}

TEST(AdaHessian, FollowsThePapersCode) {
  expect_follows_ada_hessian(
      "ada_hessian", AdaHessianOptions(0.1).weight_decay(0.01));
}

TEST(AdaHessian, FollowsItWithAnotherPower) {
  expect_follows_ada_hessian(
      "ada_hessian_power",
      AdaHessianOptions(0.1).weight_decay(0.01).hessian_power(0.5));
}

TEST(AdaHessian, FindsTheMinimumOfADiagonalQuadraticInOneStep) {
  auto x = leaf({3, -2, 1, 7});
  const auto curvature =
      torch::tensor({1.0, 10.0, 40.0, 1e-3}, torch::kFloat64);
  const auto lowest = torch::tensor({1.0, 2.0, -3.0, 0.5}, torch::kFloat64);
  AdaHessian optimizer({x}, AdaHessianOptions(1).eps(0));
  optimizer.step([&] { return (curvature * (x - lowest).square()).sum() / 2; });
  EXPECT_LT((x - lowest).abs().max().item<double>(), 1e-14);
}

TEST(AdaHessian, IsMomentumAtAPowerOfZero) {
  auto x = leaf({3, -2});
  AdaHessian optimizer({x}, AdaHessianOptions(0.25).eps(0).hessian_power(0));
  optimizer.step([&] {
    return (x * vector_of({2, -4})).sum() + x.square().sum() * 0;
  });
  EXPECT_TRUE(torch::equal(x, leaf({2.5, -1})));
}

// The mean of z * Hz over each kernel, which is exact where the Hessian is
// diagonal.
TEST(AdaHessian, AveragesOverEachKernelOfAConvolution) {
  for (const bool averages : {true, false}) {
    LayerDraws draw;
    std::vector<torch::Tensor> weights = {
        draw({2, 3, 2, 2}), draw({2, 3, 4}), draw({5, 4})};
    std::vector<torch::Tensor> curvatures;
    for (auto& weight : weights) {
      weight.set_requires_grad(true);
      curvatures.push_back(draw(weight.sizes()) + 2);
    }
    AdaHessian optimizer(
        weights, AdaHessianOptions(1).eps(0).spatial_averaging(averages));
    const auto before = copies_of(weights);
    optimizer.step([&] {
      auto loss = torch::zeros({}, torch::kFloat64);
      for (std::size_t i = 0; i < weights.size(); ++i) {
        loss = loss + (curvatures[i] * weights[i].square()).sum() / 2;
      }
      return loss;
    });
    for (std::size_t i = 0; i < weights.size(); ++i) {
      auto divisor = curvatures[i];
      if (averages && i == 0) divisor = divisor.mean({2, 3}, true);
      if (averages && i == 1) divisor = divisor.mean({2}, true);
      const auto expected = before[i] * (1 - curvatures[i] / divisor);
      EXPECT_LT((weights[i] - expected).abs().max().item<double>(), 1e-14)
          << averages << ", " << i;
    }
  }
}

// v / (1 - beta2^k) counts products, not updates.
TEST(AdaHessian, CorrectsTheMeanOfCurvaturesByTheProducts) {
  auto x = leaf({3});
  AdaHessian optimizer(
      {x},
      AdaHessianOptions(0.5)
          .eps(0)
          .betas(std::make_tuple(0.0, 0.99))
          .interval(4));
  for (int step = 0; step < 11; ++step) {
    const double before = x.item<double>();
    optimizer.step([&] { return 7 * x.square().sum() / 2; });
    EXPECT_NEAR(x.item<double>(), before / 2, 1e-12) << step;
  }
}

TEST(AdaHessian, StepsAlikeWithEveryInstructionSetAndNumberOfThreads) {
  expect_the_same_everywhere([](torch::Dtype type) {
    LayerDraws draw;
    auto layers = some_layers(draw, type);
    AdaHessian optimizer(layers, AdaHessianOptions(0.1).weight_decay(0.1));
    for (int step = 0; step < 3; ++step) {
      optimizer.step([&] {
        auto loss = torch::zeros({}, type);
        for (const auto& layer : layers) {
          // Element by element: a sum over threads would differ.
          loss = loss + (layer * layer * layer).reshape({-1})[0];
          loss = loss + (layer * layer).sum() * 0.5;
        }
        return loss;
      });
    }
    return copies_of(layers);
  });
}

TEST(AdaHessian, StepsAlikeByTensorOperations) {
  const AdaHessianOptions options = AdaHessianOptions(0.1).weight_decay(0.3);
  LayerDraws draw;
  auto x = draw({41, 13}).set_requires_grad(true);
  const auto curvature = draw({41, 13}) + 2;
  auto other = x.detach().clone();
  auto mean = torch::zeros_like(other);
  auto square = torch::zeros_like(other);
  AdaHessian optimizer({x}, options);
  for (int step = 1; step <= 10; ++step) {
    optimizer.step([&] { return (curvature * x.square()).sum() / 2; });
    square.mul_(0.999).addcmul_(curvature, curvature, 1 - 0.999);
    AdaHessianByOperations::step_by_operations(
        other, curvature * other, mean, square, options, step);
    EXPECT_LT((x - other).abs().max().item<double>(), 1e-13) << step;
  }
}

}  // namespace
}  // namespace stepsize::test
