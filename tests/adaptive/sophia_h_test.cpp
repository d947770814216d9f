#include <stepsize/adaptive/sophia_h.h>

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <memory>
#include <tuple>
#include <vector>

#include "tests/adaptive/layerwise.h"
#include "tests/adaptive/optimizer_golden.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

// Its tensor operations, on a CPU.
class SophiaByOperations : public SophiaH {
 public:
  using SophiaH::step_by_operations;
};

TEST(SophiaH, HasThePapersDefaults) {
  const SophiaHOptions options;
  EXPECT_EQ(options.lr(), 1e-4);
  EXPECT_EQ(options.betas(), std::make_tuple(0.965, 0.99));
  EXPECT_EQ(options.gamma(), 0.01);
  EXPECT_EQ(options.eps(), 1e-12);
  EXPECT_EQ(options.weight_decay(), 0.1);
  EXPECT_EQ(options.interval(), 10);
}

TEST(SophiaH, FollowsThePapersEquations) {
  const auto options =
      SophiaHOptions(0.03).betas(std::make_tuple(0.965, 0.9)).gamma(0.5);
  expect_follows_golden(
      "sophia_h", [&](const std::vector<torch::Tensor>& parameters) {
        const auto optimizer = std::make_shared<SophiaH>(parameters, options);
        return GoldenRun{
            [optimizer](GoldenProblem& problem) {
              optimizer->step([&] { return problem.loss(); });
            },
            nullptr};
      });
}

TEST(SophiaH, StepsAsByHand) {
  auto x = leaf({1, 1, 1, 1});
  SophiaH optimizer(
      {x},
      SophiaHOptions(0.25)
          .betas(std::make_tuple(0.5, 0.75))
          .gamma(4)
          .weight_decay(0.5));
  // m = g / 2, h = D / 4 and max(4 h, eps) = D where that is positive.
  optimizer.step([&] {
    // Gradients 1, 8, -1, 0 of curvature 2, 2, -3, 2.
    const auto curvature = vector_of({2, 2, -3, 2});
    const auto slope = vector_of({1, 8, -1, 0}) - curvature;
    return (curvature * x.square() / 2 + slope * x).sum();
  });
  const double kept = 1 - 0.125;
  EXPECT_TRUE(torch::equal(
      x, leaf({kept - 0.25 * 0.25, kept - 0.25, kept + 0.25, kept})));
}

TEST(SophiaH, MovesNoCoordinateByMoreThanItsRate) {
  LayerDraws draw;
  auto x = draw({41, 13}).set_requires_grad(true);
  const auto mix = draw({13, 13});
  SophiaH optimizer({x}, SophiaHOptions(0x1p-7).weight_decay(0).gamma(1));
  double longest = 0;
  double shortest = kInfinity;
  for (int step = 0; step < 25; ++step) {
    const auto before = x.detach().clone();
    optimizer.step([&] { return (x.mm(mix).sin() * x.mm(mix.t())).sum(); });
    const auto moved = (x - before).abs();
    // A rounding of numbers of about 1.
    EXPECT_LE(moved.max().item<double>(), 0x1p-7 + 1e-15);
    longest = std::max(longest, moved.max().item<double>());
    shortest = std::min(shortest, moved.min().item<double>());
  }
  // Some were clipped, and some were not.
  EXPECT_NEAR(longest, 0x1p-7, 1e-15);
  EXPECT_LT(shortest, 0x1p-9);
}

TEST(SophiaH, MovesAlongTheSignWhereTheCurvatureIsNegative) {
  auto x = leaf({0, 0, 0});
  SophiaH optimizer({x}, SophiaHOptions(0.125).weight_decay(0).eps(0));
  // The last one rests: 0 / 0 is no step.
  optimizer.step([&] {
    return (vector_of({1e-9, -3, 0}) * x - x.square()).sum();
  });
  EXPECT_TRUE(torch::equal(x, leaf({-0.125, 0.125, 0})));
}

TEST(SophiaH, StepsAlikeWithEveryInstructionSetAndNumberOfThreads) {
  expect_the_same_everywhere([](torch::Dtype type) {
    LayerDraws draw;
    auto layers = some_layers(draw, type);
    SophiaH optimizer(layers, SophiaHOptions(0.1).gamma(1).interval(2));
    for (int step = 0; step < 3; ++step) {
      optimizer.step([&] {
        auto loss = torch::zeros({}, type);
        for (const auto& layer : layers) {
          loss = loss + (layer * layer).sum() * 0.5;
        }
        return loss;
      });
    }
    return copies_of(layers);
  });
}

TEST(SophiaH, StepsAlikeByTensorOperations) {
  const auto options = SophiaHOptions(0.1).gamma(1);
  LayerDraws draw;
  auto x = draw({41, 13}).set_requires_grad(true);
  const auto curvature = draw({41, 13}) + 0.5;
  auto other = x.detach().clone();
  auto mean = torch::zeros_like(other);
  auto hessian = torch::zeros_like(other);
  SophiaH optimizer({x}, options);
  for (int step = 0; step < 21; ++step) {
    optimizer.step([&] { return (curvature * x.square()).sum() / 2; });
    if (step % 10 == 0) hessian.mul_(0.99).add_(curvature, 1 - 0.99);
    SophiaByOperations::step_by_operations(
        other, curvature * other, mean, hessian, options);
    EXPECT_LT((x - other).abs().max().item<double>(), 1e-12) << step;
  }
  // A NaN shows.
  other[0][0] = kNaN;
  SophiaByOperations::step_by_operations(
      other, curvature * other, mean, hessian, options);
  EXPECT_TRUE(other[0][0].isnan().item<bool>());
}

}  // namespace
}  // namespace stepsize::test
