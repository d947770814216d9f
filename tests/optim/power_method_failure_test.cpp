#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/optim/power_method_sgd.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <sstream>
#include <vector>

#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;
using torch::optim::OptimizerParamGroup;

// The Hessian is block-diagonal: the power method cannot find y from x.
torch::Tensor apart(const torch::Tensor& x, const torch::Tensor& y) {
  return x.square().sum() / 2 + 50 * y.square().sum();
}

TEST(PowerMethodSGDFailure, ParametersThatJoinEnterTheVector) {
  auto x = leaf({1});
  auto y = leaf({1e-3});
  PowerMethodSGD sgd({x});
  for (int i = 0; i < 30; ++i) sgd.step([&] { return apart(x, y); });
  EXPECT_NEAR(sgd.sharpness(), 1, 1e-9);
  const auto before = sgd.products();
  sgd.add_param_group(OptimizerParamGroup({y}));
  double largest = 0;
  for (int i = 0; i < 60; ++i) {
    const auto loss = sgd.step([&] { return apart(x, y); });
    largest = std::max(largest, loss.item<double>());
  }
  EXPECT_NEAR(sgd.sharpness(), 100, 1);
  EXPECT_GE(sgd.products(), before + 20);
  EXPECT_LT(largest, 1);
}

TEST(PowerMethodSGDFailure, ParametersThatThawOrAreUsedLaterEnterTheVector) {
  for (const bool freezes : {true, false}) {
    auto x = leaf({1});
    auto y = leaf({1e-3});
    if (freezes) y.set_requires_grad(false);
    PowerMethodSGD sgd({x, y});
    for (int i = 0; i < 30; ++i) {
      sgd.step([&] { return freezes ? apart(x, y) : x.square().sum() / 2; });
    }
    y.set_requires_grad(true);
    for (int i = 0; i < 60; ++i) sgd.step([&] { return apart(x, y); });
    EXPECT_NEAR(sgd.sharpness(), 100, 1) << freezes;
    EXPECT_LT(y.abs().item<double>(), 1e-2) << freezes;
  }
}

// All of the vector lies in what is frozen: nothing is left to start from.
TEST(PowerMethodSGDFailure, WhatStaysMayHaveNoPartInTheVector) {
  auto x = leaf({1});
  auto y = leaf({1});
  PowerMethodSGD sgd({x, y});
  double curvature = 0;
  const auto loss = [&] {
    return curvature * x.square().sum() / 2 + x.sum() + y.square().sum();
  };
  for (int i = 0; i < 30; ++i) sgd.step(loss);
  EXPECT_NEAR(sgd.sharpness(), 2, 1e-6);
  y.set_requires_grad(false);
  for (int i = 0; i < 30; ++i) sgd.step(loss);
  EXPECT_EQ(sgd.skipped_steps(), 0);
  // And it is found when it bends.
  curvature = 100;
  for (int i = 0; i < 30; ++i) sgd.step(loss);
  EXPECT_NEAR(sgd.sharpness(), 100, 1e-2);
}

TEST(PowerMethodSGDFailure, AGradientThatIsZeroAtFirstIsNoReasonToThrow) {
  auto x = leaf({1, 2});
  PowerMethodSGD sgd({x});
  for (int i = 0; i < 40; ++i) {
    sgd.step([&] { return (i < 2 ? 0.0 : 1.0) * x.square().sum(); });
  }
  EXPECT_NEAR(sgd.sharpness(), 2, 1e-9);
  EXPECT_LT(x.abs().max().item<double>(), 1e-2);
}

// Its backward cannot be differentiated.
struct Opaque : torch::autograd::Function<Opaque> {
  static torch::Tensor forward(
      torch::autograd::AutogradContext* context, const torch::Tensor& x) {
    context->save_for_backward({x});
    return x.square().sum();
  }
  static torch::autograd::tensor_list backward(
      torch::autograd::AutogradContext* context,
      const torch::autograd::tensor_list& gradients) {
    TORCH_CHECK(
        !torch::GradMode::is_enabled(), "no derivative of the derivative");
    return {2 * context->get_saved_variables()[0] * gradients[0]};
  }
};

TEST(PowerMethodSGDFailure, AutomaticStaysSoAfterTheFirstExactProduct) {
  auto x = leaf({1, 2});
  PowerMethodSGDOptions options(1e-3);
  PowerMethodSGD sgd({x}, options);
  for (int i = 0; i < 20; ++i) {
    sgd.step([&] { return i < 6 ? x.square().sum() : Opaque::apply(x); });
    if (i == 5) {
      EXPECT_EQ(sgd.method(), HessianMethod::kExact);
      EXPECT_EQ(sgd.fallback_reason(), "");
    }
  }
  EXPECT_EQ(sgd.method(), HessianMethod::kFiniteDifference);
  EXPECT_THAT(
      sgd.fallback_reason(), HasSubstr("no derivative of the derivative"));
  EXPECT_NEAR(sgd.sharpness(), 2, 1e-3);
  std::stringstream file;
  torch::save(sgd, file);
  PowerMethodSGD other({x}, options);
  torch::load(other, file);
  EXPECT_EQ(other.fallback_reason(), sgd.fallback_reason());
}

// |y|^3, whose second derivative at 0 is 0 and computed as NaN.
torch::Tensor cusp(const torch::Tensor& y) { return y.square().sum().pow(1.5); }

TEST(PowerMethodSGDFailure, AProductThatIsNotFiniteIsTriedAsADifference) {
  auto x = leaf({1, 2});
  auto y = leaf({0, 0});
  PowerMethodSGD sgd({x, y});
  for (int i = 0; i < 10; ++i) {
    sgd.step([&] { return x.square().sum() + cusp(y); });
  }
  EXPECT_NEAR(sgd.sharpness(), 2, 1e-4);
  EXPECT_EQ(sgd.skipped_steps(), 0);
  EXPECT_EQ(sgd.unmeasured_steps(), 0);
  EXPECT_EQ(sgd.fallback_reason(), "");
}

TEST(PowerMethodSGDFailure, AfterThreeUpdatesWithoutCurvatureTheyAreLeftOut) {
  auto x = leaf({1, 2});
  auto y = leaf({0, 0});
  const PowerMethodSGDOptions options =
      PowerMethodSGDOptions(1e-3).method(HessianMethod::kExact);
  PowerMethodSGD sgd({x, y}, options);
  // Updates 0 and 1 are measured, then every one until that succeeds again.
  const auto loss = [&](bool sound) {
    return x.square().sum() + (sound ? y.square().sum() : cusp(y));
  };
  for (int i = 0; i < 2; ++i) sgd.step([&] { return loss(true); });
  ASSERT_EQ(sgd.unmeasured_steps(), 0);
  int64_t moved = 0;
  int64_t unmeasured_and_moved = 0;
  for (int i = 0; i < 20; ++i) {
    const auto before = x.detach().clone();
    const auto unmeasured = sgd.unmeasured_steps();
    sgd.step([&] { return loss(false); });
    if (!torch::equal(x, before)) {
      ++moved;
      unmeasured_and_moved += sgd.unmeasured_steps() - unmeasured;
    }
  }
  EXPECT_EQ(unmeasured_and_moved, 3);
  EXPECT_EQ(sgd.skipped_steps(), 20 - moved);
  EXPECT_GT(sgd.skipped_steps(), 10);
  const auto before = x.detach().clone();
  sgd.step([&] { return loss(true); });
  EXPECT_FALSE(torch::equal(x, before));
}

TEST(PowerMethodSGDFailure, ALossThatIsNotFiniteIsLeftOutForAllItsGradient) {
  auto x = leaf({1, 2});
  PowerMethodSGD sgd({x});
  sgd.step([&] { return x.square().sum() + kInfinity; });
  EXPECT_EQ(sgd.skipped_steps(), 1);
  EXPECT_TRUE(torch::equal(x, leaf({1, 2})));
}

TEST(PowerMethodSGDFailure, AGradientThatLeavesTheGraphIsTakenAsADifference) {
  auto x = leaf({1, 2});
  PowerMethodSGD sgd({x});
  struct Leaves : torch::autograd::Function<Leaves> {
    static torch::Tensor forward(
        torch::autograd::AutogradContext* context, const torch::Tensor& t) {
      context->save_for_backward({t});
      return t.square().sum();
    }
    static torch::autograd::tensor_list backward(
        torch::autograd::AutogradContext* context,
        const torch::autograd::tensor_list& gradients) {
      const auto t = context->get_saved_variables()[0].detach();
      return {2 * t * gradients[0].detach()};
    }
  };
  sgd.step([&] { return Leaves::apply(x); });
  EXPECT_NEAR(sgd.sharpness(), 2, 1e-4);
  EXPECT_EQ(sgd.fallback_reason(), "the gradient has no graph");
}

// What throws within a difference has made no step: at 3 the gradient of
// 2 |x|^2 is 12, and the one of 1000 |x| is 1000.
TEST(PowerMethodSGDFailure, PutsAllBackWhereAMeasurementThrows) {
  auto x = leaf({3});
  PowerMethodSGD sgd(
      {x}, PowerMethodSGDOptions().method(HessianMethod::kFiniteDifference));
  sgd.step([&] { return (2 * x * x).sum(); });
  ASSERT_EQ(sgd.last_grad_norm(), 12);
  const auto there = x.detach().clone();
  const double rate = sgd.current_lr();
  const int64_t products = sgd.products();
  int calls = 0;
  EXPECT_THAT(
      message_of([&] {
        sgd.step([&] {
          TORCH_CHECK(++calls < 2, "the data ended");
          return (1000 * x).sum();
        });
      }),
      HasSubstr("the data ended"));
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(sgd.last_grad_norm(), 12);
  EXPECT_EQ(sgd.current_lr(), rate);
  EXPECT_EQ(sgd.products(), products);
  EXPECT_EQ(sgd.unmeasured_steps(), 0);
  EXPECT_TRUE(torch::equal(x, there));
}

TEST(PowerMethodSGDFailure, AMethodIsNotChangedByAStepThatIsNone) {
  auto x = leaf({3});
  PowerMethodSGD sgd(
      {x}, PowerMethodSGDOptions().method(HessianMethod::kExact));
  sgd.step([&] { return (2 * x * x).sum(); });
  static_cast<PowerMethodSGDOptions&>(sgd.param_groups()[0].options())
      .method(HessianMethod::kFiniteDifference);
  const auto throws = [&]() -> torch::Tensor {
    TORCH_CHECK(false, "the data ended");
  };
  EXPECT_THAT(
      message_of([&] { sgd.step(throws); }), HasSubstr("the data ended"));
  EXPECT_EQ(sgd.method(), HessianMethod::kExact);
  sgd.step([&] { return (2 * x * x).sum(); });
  EXPECT_EQ(sgd.method(), HessianMethod::kFiniteDifference);
}

// The exact product fails, and so does the difference in its place.
TEST(PowerMethodSGDFailure, AFallBackIsTakenBackWithItsStep) {
  auto x = leaf({1, 2});
  PowerMethodSGD sgd({x});
  int calls = 0;
  EXPECT_THAT(
      message_of([&] {
        sgd.step([&] {
          TORCH_CHECK(++calls < 2, "the data ended");
          return Opaque::apply(x);
        });
      }),
      HasSubstr("the data ended"));
  EXPECT_EQ(sgd.method(), HessianMethod::kAutomatic);
  EXPECT_EQ(sgd.fallback_reason(), "");
  EXPECT_TRUE(std::isnan(sgd.last_grad_norm()));
}

}  // namespace
}  // namespace stepsize::test
