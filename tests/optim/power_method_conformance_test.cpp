#include <gtest/gtest.h>
#include <stepsize/optim/power_method_sgd.h>
#include <torch/torch.h>

#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/error_text.h"
#include "tests/support/leaf.h"

namespace stepsize::test {
namespace {

using torch::optim::OptimizerParamGroup;

// What the other optimizers show in their table, with a closure that leaves the
// gradient to the step.
struct PowerRow {
  std::string name;
  PowerMethodSGDOptions options;
};

std::vector<PowerRow> power_rows() {
  PowerMethodSGDOptions bold;
  bold.tracker().safety(0.8);
  return {
      {"Plain", PowerMethodSGDOptions()},
      {"Bold", bold},
      {"HeavyBall", PowerMethodSGDOptions().momentum(0.9)},
      {"Nesterov", PowerMethodSGDOptions().momentum(0.9).nesterov(true)},
      {"HeavyBallOfAQuadratic",
       PowerMethodSGDOptions().momentum(0.9).momentum_limit(
           MomentumLimit::kQuadratic)},
      {"Differences",
       PowerMethodSGDOptions().method(HessianMethod::kCentralDifference)}};
}

class PowerMethodConformance : public testing::TestWithParam<PowerRow> {};

TEST_P(PowerMethodConformance, FindsTheMinimumOfAQuadratic) {
  auto x = leaf({3, -2, 1});
  const auto curvature = torch::tensor({1.0, 10.0, 40.0}, torch::kFloat64);
  PowerMethodSGD sgd({x}, GetParam().options);
  for (int step = 0; step < 800; ++step) {
    sgd.step([&] { return (curvature * (x - 1).square()).sum() / 2; });
  }
  EXPECT_LE((x - 1).abs().max().item<double>(), 1e-5);
}

TEST_P(PowerMethodConformance, DescendsRosenbrocksValley) {
  auto x = leaf({-1.2, 1});
  PowerMethodSGD sgd({x}, GetParam().options);
  torch::Tensor loss;
  for (int step = 0; step < 1500; ++step) {
    loss = sgd.step([&] {
      return 100 * (x[1] - x[0].square()).square() + (1 - x[0]).square();
    });
  }
  // From 24.2; the valley's floor is below 5.
  EXPECT_LT(loss.item<double>(), 1);
}

// Two groups, one parameter without a gradient, one laid out otherwise.
struct PowerRun {
  explicit PowerRun(const PowerMethodSGDOptions& options) {
    torch::manual_seed(5);
    parameters = {
        torch::randn({4, 3}, torch::requires_grad()),
        torch::randn({2}, torch::requires_grad()),
        torch::randn({3, 5}).t().requires_grad_(true)};
    std::vector<OptimizerParamGroup> groups;
    groups.emplace_back(
        std::vector<torch::Tensor>{parameters[0], parameters[1]});
    auto second = options;
    groups.emplace_back(
        std::vector<torch::Tensor>{parameters[2]},
        std::make_unique<PowerMethodSGDOptions>(second.lr(0.5)));
    sgd = std::make_unique<PowerMethodSGD>(groups, options);
  }
  void train(int count) {
    for (int i = 0; i < count; ++i) {
      sgd->step([&] {
        return torch::mm(parameters[2], parameters[0].t()).sin().sum() +
               parameters[0].square().sum() + parameters[2].square().sum();
      });
    }
  }
  std::vector<torch::Tensor> parameters;
  std::unique_ptr<PowerMethodSGD> sgd;
};

TEST_P(PowerMethodConformance, GoesOnBitForBitAfterALoadOfTwoGroups) {
  PowerRun whole(GetParam().options);
  whole.train(17);
  std::stringstream file;
  torch::save(*whole.sgd, file);
  PowerRun resumed(GetParam().options);
  {
    const torch::NoGradGuard no_grad;
    for (std::size_t i = 0; i < whole.parameters.size(); ++i) {
      resumed.parameters[i].copy_(whole.parameters[i]);
    }
  }
  torch::load(*resumed.sgd, file);
  whole.train(20);
  resumed.train(20);
  for (std::size_t i = 0; i < whole.parameters.size(); ++i) {
    EXPECT_TRUE(torch::equal(whole.parameters[i], resumed.parameters[i])) << i;
  }
}

TEST_P(PowerMethodConformance, LeavesAParameterWithoutAGradientAlone) {
  PowerRun run(GetParam().options);
  const auto before = run.parameters[1].detach().clone();
  run.train(12);
  EXPECT_TRUE(torch::equal(run.parameters[1], before));
}

TEST_P(PowerMethodConformance, FollowsASchedulerOfFactors) {
  auto x = leaf({1, 1});
  PowerMethodSGD sgd({x}, GetParam().options);
  torch::optim::StepLR scheduler(sgd, 1, 0.5);
  const auto step = [&] {
    sgd.step([&] { return 20 * x.square().sum(); });
    return sgd.current_lr();
  };
  // The curvature does not change: the rate halves with its factor.
  const double first = step();
  sgd.param_groups()[0].options().set_lr(0.25);
  EXPECT_NEAR(step() / first, 0.25, 1e-6);
  scheduler.step();
  const double factor = sgd.param_groups()[0].options().get_lr();
  EXPECT_LE(factor, 0.25);
  EXPECT_NEAR(step() / first, factor, 1e-6);
}

TEST_P(PowerMethodConformance, RefusesSparseGradientsAndMovesNothing) {
  auto x = leaf({1, 2});
  auto table = torch::ones({3, 2}, torch::kFloat64).requires_grad_(true);
  PowerMethodSGD sgd({x, table}, GetParam().options);
  const auto chosen = torch::tensor({1});
  EXPECT_EQ(
      message_of([&] {
        sgd.step([&] {
          return torch::embedding(
                     table, chosen, /*padding_idx=*/-1, false, /*sparse=*/true)
                     .square()
                     .sum() +
                 x.square().sum();
        });
      }),
      "PowerMethodSGD: gradients must be dense; parameter 1 of group 0 has one "
      "of layout Sparse");
  EXPECT_TRUE(torch::equal(x, leaf({1, 2})));
}

TEST_P(PowerMethodConformance, DescendsInHalfPrecision) {
  auto x = torch::tensor({2.0, -1.5}, torch::kBFloat16).requires_grad_(true);
  PowerMethodSGD sgd({x}, GetParam().options);
  for (int i = 0; i < 60; ++i) sgd.step([&] { return x.square().sum() * 2; });
  EXPECT_LT(x.to(torch::kFloat32).abs().max().item<float>(), 0.2F);
  std::stringstream file;
  torch::save(sgd, file);
  torch::load(sgd, file);
}

INSTANTIATE_TEST_SUITE_P(
    All,
    PowerMethodConformance,
    testing::ValuesIn(power_rows()),
    [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace stepsize::test
