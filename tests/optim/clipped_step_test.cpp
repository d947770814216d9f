#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;
using torch::optim::OptimizerParamGroup;

void set_gradient(torch::Tensor& parameter, const std::vector<double>& values) {
  parameter.mutable_grad() = torch::tensor(values, parameter.scalar_type());
}

TEST(ClippedSGD, BringsTheGradientDownToMaxNorm) {
  auto x = leaf({1, 1});
  ClippedSGD sgd({x}, ClippedSGDOptions(1).max_norm(2.5));
  set_gradient(x, {3, 4});
  sgd.step();
  // Half of the gradient, whose norm is 5.
  EXPECT_TRUE(torch::equal(x, leaf({-0.5, -1})));
  EXPECT_EQ(sgd.last_grad_norm(), 5);
  EXPECT_EQ(sgd.clipped_steps(), 1);
  // The gradient itself stays.
  EXPECT_TRUE(
      torch::equal(x.grad(), torch::tensor({3.0, 4.0}, torch::kFloat64)));
  set_gradient(x, {1.5, 2});
  sgd.step();
  // Just max_norm: not clipped.
  EXPECT_TRUE(torch::equal(x, leaf({-2, -3})));
  EXPECT_EQ(sgd.clipped_steps(), 1);
}

// The norm is beyond the range of a double, the coefficient no normal number.
TEST(ClippedSGD, BringsTheLargestGradientsDownToMaxNorm) {
  constexpr double kLargest = std::numeric_limits<double>::max();
  for (const double max_norm : {2.0, 1e-100}) {
    auto x = leaf({0, 0});
    ClippedSGD sgd({x}, ClippedSGDOptions(1).max_norm(max_norm));
    set_gradient(x, {kLargest, -kLargest});
    sgd.step();
    const double expected = max_norm / std::sqrt(2.0);
    EXPECT_NEAR(x[0].item<double>() / expected, -1, 1e-14);
    EXPECT_NEAR(x[1].item<double>() / expected, 1, 1e-14);
    EXPECT_EQ(sgd.skipped_steps(), 0);
    EXPECT_EQ(sgd.clipped_steps(), 1);
    EXPECT_EQ(sgd.last_grad_norm(), kInfinity);
  }
  auto y = torch::zeros({4}, torch::requires_grad());
  ClippedSGD sgd({y}, ClippedSGDOptions(1).max_norm(1));
  set_gradient(y, {1e38, 1e38, -1e38, 1e38});
  sgd.step();
  EXPECT_NEAR(y[2].item<double>(), 0.5, 1e-7);
  EXPECT_NEAR(y.norm().item<double>(), 1, 1e-6);
}

TEST(ClippedAdamW, TakesTheLargestGradientsForFinite) {
  constexpr double kLargest = std::numeric_limits<double>::max();
  auto x = leaf({0, 0});
  ClippedAdamW adamw({x}, ClippedAdamWOptions(0.1).weight_decay(0).max_norm(2));
  set_gradient(x, {kLargest, -kLargest});
  adamw.step();
  // Adam's first step is the rate along the signs.
  EXPECT_NEAR(x[0].item<double>(), -0.1, 1e-8);
  EXPECT_NEAR(x[1].item<double>(), 0.1, 1e-8);
  EXPECT_EQ(adamw.skipped_steps(), 0);
  set_gradient(x, {kLargest, kInfinity});
  adamw.step();
  EXPECT_EQ(adamw.skipped_steps(), 1);
}

TEST(ClippedSGD, MeasuresTheLargestElementIfAskedTo) {
  auto x = leaf({0, 0});
  ClippedSGD sgd(
      {x}, ClippedSGDOptions(1).max_norm(2).norm_type(NormType::kInfinity));
  set_gradient(x, {3, -4});
  sgd.step();
  EXPECT_TRUE(torch::equal(x, leaf({-1.5, 2})));
  EXPECT_EQ(sgd.last_grad_norm(), 4);
}

TEST(ClippedSGD, HasOneNormForAllGroupsAndARateForEach) {
  auto x = leaf({0});
  auto y = leaf({0});
  std::vector<OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<torch::Tensor>{x});
  groups.emplace_back(
      std::vector<torch::Tensor>{y}, std::make_unique<ClippedSGDOptions>(10));
  ClippedSGD sgd(groups, ClippedSGDOptions(1));
  set_gradient(x, {3});
  set_gradient(y, {4});
  sgd.step();
  EXPECT_EQ(sgd.last_grad_norm(), 5);
  EXPECT_DOUBLE_EQ(x.item<double>(), -0.6);
  EXPECT_DOUBLE_EQ(y.item<double>(), -8);
}

// f = lambda x^2 / 2 with lr lambda = 3, which diverges without clipping.
TEST(ClippedSGD, TurnsDivergenceIntoACycleOfBoundedSize) {
  constexpr double kLambda = 2;
  constexpr double kRate = 1.5;
  constexpr double kMaxNorm = 0.7;
  const double widest = kMaxNorm * (kRate * kLambda - 1) / kLambda;
  for (const double start : {kMaxNorm / kLambda, 1e-3, 0.1, 5.0, -40.3}) {
    auto x = leaf({start});
    ClippedSGD sgd({x}, ClippedSGDOptions(kRate).max_norm(kMaxNorm));
    std::vector<double> orbit;
    for (int step = 0; step < 1000; ++step) {
      set_gradient(x, {kLambda * x.item<double>()});
      sgd.step();
      orbit.push_back(x.item<double>());
    }
    const double last = orbit[999];
    const double amplitude = std::max(std::abs(last), std::abs(orbit[998]));
    EXPECT_NEAR(orbit[997], last, 1e-12) << start;
    EXPECT_GE(amplitude, kRate * kMaxNorm / 2 - 1e-12) << start;
    EXPECT_LE(amplitude, widest + 1e-12) << start;
    if (start == kMaxNorm / kLambda) {
      // From there the orbit is the widest that there is.
      EXPECT_NEAR(amplitude, widest, 1e-12);
    }
  }
}

TEST(ClippedSGD, LeavesOutStepsThatAreNotFinite) {
  for (const double bad : {kNaN, std::numeric_limits<double>::infinity()}) {
    auto x = leaf({1, 2});
    auto y = leaf({3});
    ClippedSGD sgd({x, y}, ClippedSGDOptions(0.5).momentum(0.9));
    set_gradient(x, {0.1, 0.2});
    set_gradient(y, {0.3});
    sgd.step();
    const auto x_before = x.detach().clone();
    const auto y_before = y.detach().clone();
    set_gradient(x, {0.1, bad});
    sgd.step();
    EXPECT_TRUE(torch::equal(x, x_before));
    EXPECT_TRUE(torch::equal(y, y_before));
    EXPECT_EQ(sgd.skipped_steps(), 1);
    EXPECT_EQ(sgd.clipped_steps(), 0);
    EXPECT_FALSE(std::isfinite(sgd.last_grad_norm()));
    // The buffers have not seen it either.
    set_gradient(x, {0, 0});
    set_gradient(y, {0});
    sgd.step();
    EXPECT_NEAR((x - x_before)[0].item<double>(), -0.5 * 0.9 * 0.1, 1e-15);
  }
}

TEST(ClippedAdamW, ASkippedStepDoesNotCountInTheBiasCorrection) {
  auto x = leaf({1});
  ClippedAdamW adamw({x}, ClippedAdamWOptions(0.1).weight_decay(0).eps(0));
  set_gradient(x, {kNaN});
  adamw.step();
  EXPECT_EQ(adamw.skipped_steps(), 1);
  EXPECT_EQ(x.item<double>(), 1);
  // In the first step Adam moves by the rate.
  set_gradient(x, {0.25});
  adamw.step();
  EXPECT_NEAR(x.item<double>(), 0.9, 1e-15);
}

TEST(ClippedSGD, ThrowsForAGradientThatIsNotFiniteIfAskedTo) {
  auto x = leaf({1});
  ClippedSGD sgd(
      {x}, ClippedSGDOptions(1).non_finite(NonFiniteGradient::kThrow));
  set_gradient(x, {kNaN});
  try {
    sgd.step();
    FAIL() << "did not throw";
  } catch (const c10::Error& error) {
    EXPECT_THAT(
        error.what_without_backtrace(),
        HasSubstr("ClippedSGD: the norm of the gradient must be finite, got"));
  }
  EXPECT_EQ(x.item<double>(), 1);
  EXPECT_EQ(sgd.skipped_steps(), 0);
}

TEST(ClippedSGD, RefusesASparseGradientAndChangesNothing) {
  auto x = torch::ones({3}, torch::requires_grad());
  auto y = torch::ones({3}, torch::requires_grad());
  ClippedSGD sgd({x, y}, ClippedSGDOptions(1));
  x.mutable_grad() = torch::ones({3});
  y.mutable_grad() = torch::ones({3}).to_sparse();
  try {
    sgd.step();
    FAIL() << "did not throw";
  } catch (const c10::Error& error) {
    EXPECT_THAT(
        error.what_without_backtrace(),
        HasSubstr("must be dense; parameter 1 of group 0"));
  }
  EXPECT_TRUE(torch::equal(x, torch::ones({3})));
}

TEST(ClippedSGD, GivesBackTheLossOfItsClosureWithGradientsOn) {
  auto x = leaf({3});
  ClippedSGD sgd({x}, ClippedSGDOptions(0.5).max_norm(100));
  const torch::NoGradGuard no_grad;
  const auto loss = sgd.step([&] {
    sgd.zero_grad();
    const auto value = x.square().sum();
    value.backward();
    return value;
  });
  EXPECT_EQ(loss.item<double>(), 9);
  EXPECT_EQ(x.item<double>(), 0);
}

TEST(ClippedSGD, MaximizeAndDecoupledDecayByHand) {
  auto x = leaf({2});
  ClippedSGD ascent({x}, ClippedSGDOptions(0.5).maximize(true));
  set_gradient(x, {0.5});
  ascent.step();
  EXPECT_EQ(x.item<double>(), 2.25);
  auto y = leaf({2});
  ClippedSGD decay(
      {y},
      ClippedSGDOptions(0.5).weight_decay(0.25).decoupled_weight_decay(true));
  set_gradient(y, {0.5});
  decay.step();
  // 2 (1 - 0.5 0.25) - 0.5 0.5; coupled decay would have been clipped at 1 no
  // more, since the norm is the gradient's own.
  EXPECT_DOUBLE_EQ(y.item<double>(), 1.5);
}

TEST(ClippedSGD, WithoutAnyGradientNothingHappens) {
  auto x = leaf({2});
  ClippedSGD sgd({x}, ClippedSGDOptions(0.5).momentum(0.9));
  sgd.step();
  EXPECT_EQ(x.item<double>(), 2);
  EXPECT_TRUE(std::isnan(sgd.last_grad_norm()));
}

}  // namespace
}  // namespace stepsize::test
