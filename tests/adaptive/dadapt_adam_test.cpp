#include <stepsize/adaptive/dadapt_adam.h>

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <sstream>
#include <tuple>
#include <vector>

#include "csrc/kernels/dadapt_adam_loop.h"
#include "tests/adaptive/fused_checks.h"
#include "tests/adaptive/optimizer_golden.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using torch::optim::OptimizerParamGroup;

// Its tensor operations, on a CPU.
class DAdaptAdamByOperations : public DAdaptAdam {
 public:
  using DAdaptAdam::step_by_operations;
};

void expect_dadapt_golden(
    const std::string& name,
    const DAdaptAdamOptions& options,
    double slack = 1) {
  expect_follows_golden(
      name,
      [&](const std::vector<torch::Tensor>& parameters) {
        const auto adam = std::make_shared<DAdaptAdam>(parameters, options);
        return GoldenRun{
            [adam](GoldenProblem& problem) {
              problem.set_gradients();
              adam->step();
            },
            [adam](const std::string&) { return adam->d(); }};
      },
      slack);
}

TEST(DAdaptAdam, HasTheReferencesDefaults) {
  const DAdaptAdamOptions options;
  EXPECT_EQ(options.lr(), 1);
  EXPECT_EQ(options.betas(), std::make_tuple(0.9, 0.999));
  EXPECT_EQ(options.eps(), 1e-8);
  EXPECT_EQ(options.weight_decay(), 0);
  EXPECT_FALSE(options.decouple());
  EXPECT_FALSE(options.use_bias_correction());
  EXPECT_EQ(options.d0(), 1e-6);
  EXPECT_EQ(options.growth_rate(), kInfinity);
}

TEST(DAdaptAdam, FollowsTheReference) {
  // A rate of 1.27 drives the run about, and what float32 rounds in the
  // reference's inner products grows.
  expect_dadapt_golden("dadapt_adam", DAdaptAdamOptions().d0(1e-3), 10);
}

TEST(DAdaptAdam, FollowsTheReferenceWithAllOptions) {
  expect_dadapt_golden(
      "dadapt_adam_options",
      DAdaptAdamOptions(0.5)
          .betas(std::make_tuple(0.8, 0.99))
          .eps(1e-6)
          .weight_decay(0.1)
          .decouple(true)
          .use_bias_correction(true)
          .d0(1e-3)
          .growth_rate(1.05));
}

// With r and s 0 the first update is Adam's without its corrections; the second
// has g^2 / (sqrt(v) + eps) times the first weight for r.
TEST(DAdaptAdam, StepsAsByHand) {
  auto x = leaf({0});
  DAdaptAdam adam(
      {x},
      DAdaptAdamOptions()
          .betas(std::make_tuple(0.5, 0.75))
          .eps(1e-30)
          .d0(1.0 / 16));
  x.mutable_grad() = vector_of({4});
  adam.step();
  // m = 1/8, v = 4.
  EXPECT_DOUBLE_EQ(x.item<double>(), -1.0 / 16);
  EXPECT_EQ(adam.d(), 1.0 / 16);
  adam.step();
  // m = 3/16, v = 7; of r = (1 - b)^2 / 2 and s = (1 - b) (b + 1) / 4.
  const double b = std::sqrt(0.75);
  EXPECT_DOUBLE_EQ(x.item<double>(), -1.0 / 16 - 3.0 / 16 / std::sqrt(7.0));
  const double r = (1 - b) / 16 * 4 * ((1 - b) / 4 / 2);
  const double s = (1 - b) * (b + 1) / 4;
  EXPECT_NEAR(adam.d(), std::max(1.0 / 16, r / ((1 - b) * s)), 1e-15);
}

TEST(DAdaptAdam, StepsAlikeByTensorOperations) {
  for (const bool decouple : {false, true}) {
    for (const auto type : {torch::kFloat64, torch::kBFloat16}) {
      FusedDraws draw;
      auto x = draw(101, type).set_requires_grad(true);
      auto other = x.detach().clone();
      DAdaptAdam adam(
          {x},
          DAdaptAdamOptions().weight_decay(0.1).d0(0.1).decouple(decouple));
      const auto wide = type == torch::kFloat64 ? type : torch::kFloat32;
      std::vector<torch::Tensor> state(3);
      for (auto& tensor : state) tensor = torch::zeros({101}, wide);
      const double b = std::sqrt(0.999);
      double r = 0;
      for (int step = 0; step < 5; ++step) {
        const double d = adam.d();
        x.mutable_grad() = draw(101, type);
        const detail::DAdaptAdamNumbers numbers = {
            0.9,
            0.999,
            b,
            1e-8,
            decouple ? 0 : 0.1,
            decouple ? 1 - 0.1 * d : 1,
            d * (1 - 0.9),
            d * (1 - b)};
        const auto sums = DAdaptAdamByOperations::step_by_operations(
            other, x.grad(), state, numbers);
        adam.step();
        r = b * r + (1 - b) * d * sums[0].item<double>();
        const double found = r / ((1 - b) * sums[1].item<double>());
        EXPECT_NEAR(
            adam.d(),
            std::max(d, found),
            type == torch::kFloat64 ? 1e-13 : 1e-4)
            << type;
      }
      EXPECT_LT(
          fused_difference(fused_numbers(x), fused_numbers(other)),
          type == torch::kFloat64 ? 1e-13 : 0.02)
          << type;
      const auto own = fused_states(adam, 0, 0);
      for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_EQ(own[i].scalar_type(), wide);
        EXPECT_LT(
            fused_difference(fused_numbers(own[i]), fused_numbers(state[i])),
            type == torch::kFloat64 ? 1e-13 : 1e-2);
      }
    }
  }
}

TEST(DAdaptAdam, GivesOneResult) {
  expect_fused_alike<DAdaptAdam>(
      DAdaptAdamOptions().d0(0.01).weight_decay(0.1));
}

// Of this variant nothing is proved: with the means of Adam d can pass the
// distance of the farthest coordinate, here by 1%.
TEST(DAdaptAdam, EstimatesNoMoreThanTheDistance) {
  for (const double lr : {0.3, 1.0}) {
    FusedDraws draw;
    auto x = leaf(draw(40));
    const auto best = draw(40, torch::kFloat64) * 3;
    const auto curvature = 2.01 + 2 * draw(40, torch::kFloat64);
    const double farthest = (x - best).abs().max().item<double>();
    const double distance = (x - best).norm().item<double>();
    DAdaptAdam adam({x}, lr);
    EXPECT_EQ(adam.d(), 1e-6);
    EXPECT_TRUE(std::isnan(adam.last_d()));
    int grown = 0;
    for (int step = 0; step < 300; ++step) {
      const double before = adam.d();
      x.mutable_grad() = curvature * (x.detach() - best);
      adam.step();
      EXPECT_EQ(adam.last_d(), before);
      EXPECT_GE(adam.d(), before);
      EXPECT_EQ(adam.d_grew(), adam.d() > before);
      grown += adam.d_grew() ? 1 : 0;
      EXPECT_LE(adam.d(), distance);
      EXPECT_LE(adam.d(), 1.02 * farthest);
    }
    EXPECT_GT(grown, 5);
    EXPECT_GT(adam.d(), farthest / 20);
  }
}

TEST(DAdaptAdam, GrowsNoFasterThanItMay) {
  auto x = leaf({0});
  DAdaptAdam adam({x}, DAdaptAdamOptions().d0(1e-3).growth_rate(1.5));
  int limited = 0;
  for (int step = 0; step < 60; ++step) {
    x.mutable_grad() = x.detach() - 1;
    adam.step();
    EXPECT_LE(adam.d(), 1.5 * adam.last_d());
    limited += adam.d() == 1.5 * adam.last_d() ? 1 : 0;
  }
  EXPECT_GT(limited, 2);
}

// Half the rate for a group is the same as twice its unit.
TEST(DAdaptAdam, AGroupsRateIsAScaleOfItsParameters) {
  auto x = leaf({0, 0});
  auto y = leaf({0});
  auto scaled = leaf({0, 0, 0});
  std::vector<OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<torch::Tensor>{x});
  groups.emplace_back(
      std::vector<torch::Tensor>{y},
      std::make_unique<DAdaptAdamOptions>(DAdaptAdamOptions(0.25).eps(1e-30)));
  const DAdaptAdamOptions options = DAdaptAdamOptions(0.5).eps(1e-30);
  DAdaptAdam adam(groups, options);
  DAdaptAdam one({scaled}, options);
  const auto best = vector_of({1, -2, 3});
  for (int step = 0; step < 100; ++step) {
    x.mutable_grad() = x.detach() - best.slice(0, 0, 2);
    y.mutable_grad() = y.detach() - best.slice(0, 2, 3);
    const auto unit = vector_of({1, 1, 0.5});
    scaled.mutable_grad() = unit * (unit * scaled.detach() - best);
    adam.step();
    one.step();
    EXPECT_NEAR(adam.d(), one.d(), 1e-12 * one.d());
  }
  EXPECT_GT(one.d(), 0.1);
  EXPECT_NEAR(y.item<double>(), 0.5 * scaled[2].item<double>(), 1e-10);
}

TEST(DAdaptAdam, LeavesAGroupAtRateZeroAlone) {
  auto x = leaf({0});
  auto y = leaf({1});
  std::vector<OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<torch::Tensor>{x});
  groups.emplace_back(
      std::vector<torch::Tensor>{y},
      std::make_unique<DAdaptAdamOptions>(
          DAdaptAdamOptions(0).weight_decay(0.5)));
  DAdaptAdam adam(groups);
  auto alone = leaf({0});
  DAdaptAdam twin({alone});
  for (int step = 0; step < 20; ++step) {
    x.mutable_grad() = x.detach() - 1;
    y.mutable_grad() = y.detach() + 5;
    alone.mutable_grad() = alone.detach() - 1;
    adam.step();
    twin.step();
  }
  EXPECT_EQ(y.item<double>(), 1);
  EXPECT_FALSE(fused_states(adam, 1, 0).at(0).defined());
  EXPECT_EQ(adam.d(), twin.d());
  EXPECT_EQ(x.item<double>(), alone.item<double>());
}

TEST(DAdaptAdam, ShowsANaNAndKeepsItsEstimate) {
  auto x = leaf({1, 1});
  DAdaptAdam adam({x}, DAdaptAdamOptions().d0(0.1));
  x.mutable_grad() = vector_of({1, kNaN});
  adam.step();
  EXPECT_TRUE(std::isnan(x[1].item<double>()));
  EXPECT_FALSE(std::isnan(x[0].item<double>()));
  EXPECT_EQ(adam.d(), 0.1);
}

TEST(DAdaptAdam, ALoadBringsTheEstimateBack) {
  auto x = leaf({0, 0});
  DAdaptAdam adam({x});
  for (int step = 0; step < 30; ++step) {
    x.mutable_grad() = x.detach() - vector_of({1, -2});
    adam.step();
  }
  std::stringstream file;
  torch::save(adam, file);
  DAdaptAdam other({x});
  torch::load(other, file);
  EXPECT_GT(other.d(), 1e-3);
  EXPECT_EQ(other.d(), adam.d());
  EXPECT_EQ(other.last_d(), adam.last_d());
}

}  // namespace
}  // namespace stepsize::test
