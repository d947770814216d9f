#include <gtest/gtest.h>
#include <stepsize/kernels/adam.h>

#include <cmath>
#include <limits>

#include "tests/kernels/support/problem.h"

namespace stepsize::test {
namespace {

torch::Tensor scalar(double value) {
  return torch::tensor(std::vector<double>{value}, torch::kDouble);
}

TEST(AdamStep, FirstStepMovesByTheRateAgainstTheSign) {
  // m / (1 - beta1) = g and sqrt(v / (1 - beta2)) = |g|.
  for (const double grad : {1e-6, -3.0, 1e20}) {
    AdamHyperparameters h;
    h.lr = 0.125;
    h.eps = 0.0;
    AdamRun run({scalar(2)}, h);
    run.step({scalar(grad)});
    EXPECT_NEAR(
        run.params[0].item<double>(), 2 - std::copysign(0.125, grad), 1e-15);
  }
}

TEST(AdamStep, TwoStepsByHand) {
  AdamHyperparameters h;
  h.lr = 0.5;
  h.beta1 = 0.5;
  h.beta2 = 0.75;
  h.eps = 1.0;
  AdamRun run({scalar(4)}, h);
  // m = 2, v = 4; bias corrected 4 and 16: 0.5 * 4 / (4 + 1).
  run.step({scalar(4)});
  EXPECT_DOUBLE_EQ(run.params[0].item<double>(), 3.6);
  EXPECT_DOUBLE_EQ(run.means[0].item<double>(), 2.0);
  EXPECT_DOUBLE_EQ(run.squares[0].item<double>(), 4.0);
  // m = 1, v = 3; corrected 1 / 0.75 and 3 / 0.4375.
  run.step({scalar(0)});
  const double update = 0.5 * (1 / 0.75) / (std::sqrt(3 / 0.4375) + 1);
  EXPECT_DOUBLE_EQ(run.params[0].item<double>(), 3.6 - update);
}

TEST(AdamStep, AmsgradKeepsTheLargestSquare) {
  AdamHyperparameters h;
  h.lr = 0.5;
  h.beta1 = 0.5;
  h.beta2 = 0.75;
  h.eps = 1.0;
  h.amsgrad = true;
  AdamRun run({scalar(4)}, h);
  run.step({scalar(4)});
  run.step({scalar(0)});
  EXPECT_DOUBLE_EQ(run.max_squares[0].item<double>(), 4.0);
  const double update = 0.5 * (1 / 0.75) / (std::sqrt(4 / 0.4375) + 1);
  EXPECT_DOUBLE_EQ(run.params[0].item<double>(), 3.6 - update);
}

TEST(AdamStep, DecoupledDecayShrinksTheParameterAlone) {
  AdamHyperparameters h;
  h.lr = 0.5;
  h.weight_decay = 0.25;
  h.decoupled_weight_decay = true;
  AdamRun run({scalar(4)}, h);
  run.step({scalar(0)});
  EXPECT_DOUBLE_EQ(run.params[0].item<double>(), 4 * 0.875);
  EXPECT_EQ(run.means[0].item<double>(), 0.0);
}

TEST(AdamStep, CoupledDecayEntersTheMeans) {
  AdamHyperparameters h;
  h.weight_decay = 0.25;
  h.beta1 = 0.5;
  AdamRun run({scalar(4)}, h);
  run.step({scalar(0)});
  EXPECT_DOUBLE_EQ(run.means[0].item<double>(), 0.5 * 0.25 * 4);
}

TEST(AdamStep, CautiousLeavesOutWhatGoesAgainstItsGradient) {
  AdamHyperparameters h;
  h.lr = 0.5;
  h.beta1 = 0.5;
  h.beta2 = 0.75;
  h.eps = 1.0;
  h.cautious = true;
  const auto pair = [](double a, double b) {
    return torch::tensor(std::vector<double>{a, b}, torch::kDouble);
  };
  AdamRun run({pair(4, 4)}, h);
  run.step({pair(4, 4)});
  // As without: all of them agree.
  EXPECT_DOUBLE_EQ(run.params[0][0].item<double>(), 3.6);
  // Means of .5 and 2; the first gradient points the other way. One of two is
  // moved, twice as far.
  run.step({pair(-1, 2)});
  EXPECT_DOUBLE_EQ(run.params[0][0].item<double>(), 3.6);
  const double square = (0.75 * 4 + 0.25 * 4) / 0.4375;
  const double update = 0.5 * (2 / 0.75) / (std::sqrt(square) + 1);
  EXPECT_DOUBLE_EQ(run.params[0][1].item<double>(), 3.6 - 2 * update);
}

TEST(AdamStep, CautiousMultipliesNoUpdateByMoreThanAThousand) {
  AdamHyperparameters h;
  h.lr = 0.5;
  h.beta1 = 0.5;
  h.beta2 = 0.75;
  h.eps = 1.0;
  h.cautious = true;
  const int64_t count = 4000;
  AdamRun run({torch::zeros({count}, torch::kDouble)}, h);
  run.step({torch::ones({count}, torch::kDouble)});
  const auto before = run.params[0].clone();
  auto grad = torch::full({count}, -0.5, torch::kDouble);
  grad[7] = 1;
  run.step({grad});
  const auto moved = before - run.params[0];
  const double update = 0.5 * (0.75 / 0.75) / (1.0 + 1);
  EXPECT_NEAR(moved[7].item<double>(), 1000 * update, 1e-9);
  EXPECT_EQ(moved.ne(0).sum().item<int64_t>(), 1);
}

TEST(AdamStep, ScaleIsAppliedToTheGradient) {
  AdamRun run({scalar(4)}, {});
  run.step({scalar(8)}, torch::tensor(0.25, torch::kDouble));
  EXPECT_DOUBLE_EQ(run.means[0].item<double>(), 0.1 * 2);
  EXPECT_DOUBLE_EQ(run.squares[0].item<double>(), 0.001 * 4);
}

TEST(AdamStep, StepsMayDiffer) {
  AdamHyperparameters h;
  const Tensors start = {scalar(4), scalar(4)};
  AdamRun run(start, h);
  AdamRun late({start[0]}, h);
  const Tensors grads = {scalar(1), scalar(1)};
  adam_step(run.params, grads, run.means, run.squares, {}, {1, 10}, h);
  late.count = 9;
  late.step({grads[0]});
  expect_same({run.params[1]}, late.params);
  EXPECT_NE(run.params[0].item<double>(), run.params[1].item<double>());
}

TEST(AdamStep, ScaleThatIsNotFiniteChangesNothing) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  AdamHyperparameters h;
  h.weight_decay = 0.1;
  h.amsgrad = true;
  AdamRun run({scalar(4)}, h);
  run.step({scalar(1)});
  const AdamRun before = {run.params, h};
  const Tensors means = clones(run.means);
  run.step({scalar(nan)}, torch::tensor(nan, torch::kDouble));
  expect_same(run.params, before.params);
  expect_same(run.means, means);
}

TEST(AdamStep, NaNGradientStaysInsideItsElement) {
  AdamHyperparameters h;
  h.amsgrad = true;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const auto grad = torch::tensor(std::vector<double>{1, nan, 1});
  AdamRun run({torch::zeros({3}, torch::kDouble)}, h);
  run.step({grad.to(torch::kDouble)});
  for (const Tensors& list : {run.params, run.means, run.max_squares}) {
    const auto found = list[0].isnan();
    EXPECT_TRUE(found[1].item<bool>());
    EXPECT_EQ(found.sum().item<int64_t>(), 1);
  }
}

// 1000 steps against torch::optim::Adam and AdamW.
void compare_adam_with_torch(torch::Dtype type, double tolerance) {
  torch::manual_seed(7);
  const Tensors start = random_params(type);
  std::vector<Tensors> grads;
  for (int i = 0; i < 1000; ++i) grads.push_back(random_grads(start));
  for (const AdamHyperparameters& h : all_adam_hyperparameters()) {
    SCOPED_TRACE(to_text(h));
    AdamRun ours(start, h);
    TorchRun theirs(start, h);
    for (const Tensors& grad : grads) {
      ours.step(grad);
      theirs.step(grad);
    }
    expect_close(ours.params, theirs.params(), tolerance);
  }
}

TEST(AdamStep, FollowsTorchInFloat32) {
  compare_adam_with_torch(torch::kFloat, 1e-6);
}

TEST(AdamStep, FollowsTorchInFloat64) {
  compare_adam_with_torch(torch::kDouble, 1e-13);
}

}  // namespace
}  // namespace stepsize::test
