#include <stepsize/tune/lr_range_test.h>

#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/curvature_lr.h>
#include <torch/torch.h>

#include <cmath>
#include <memory>
#include <optional>
#include <vector>

#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/tune/lr_range_runs.h"

namespace stepsize {
namespace {

using test::leaf;
using test::UnitBowl;
using torch::optim::SGD;
using torch::optim::SGDOptions;

TEST(LRRangeTest, SweepsBothWaysFromEndToEndExactly) {
  UnitBowl bowl;
  const auto options = LRRangeTestOptions().start_lr(1e-5).end_lr(0.1);
  const auto result = bowl.test(options);
  ASSERT_EQ(result.lrs.size(), 400u);
  EXPECT_EQ(result.lrs.front(), 1e-5);
  EXPECT_EQ(result.lrs.back(), 0.1);
  for (std::size_t i = 1; i < 400; ++i) {
    EXPECT_NEAR(
        std::log10(result.lrs[i] / result.lrs[i - 1]), 4.0 / 399, 1e-12);
  }
  auto linear = options;
  linear.num_iterations(7).spacing(LRSpacing::kLinear);
  const auto straight = bowl.test(linear);
  ASSERT_EQ(straight.lrs.size(), 7u);
  EXPECT_EQ(straight.lrs.front(), 1e-5);
  EXPECT_EQ(straight.lrs.back(), 0.1);
  EXPECT_NEAR(straight.lrs[3], (0.1 + 1e-5) / 2, 1e-15);
}

TEST(LRRangeTest, LossesAreThoseOfGradientDescent) {
  UnitBowl bowl;
  const auto result = bowl.test(
      LRRangeTestOptions().start_lr(0.01).end_lr(1).num_iterations(9));
  double squared = 25;
  for (std::size_t i = 0; i < result.lrs.size(); ++i) {
    EXPECT_NEAR(result.losses[i], squared / 2, 1e-12);
    squared *= (1 - result.lrs[i]) * (1 - result.lrs[i]);
  }
  EXPECT_EQ(result.status, LRRangeStatus::kFinished);
  EXPECT_EQ(
      result.reason,
      "all rates were tried; too few points for a suggestion, which takes 12 "
      "at least: raise num_iterations");
}

TEST(LRRangeTest, AccumulatedGradientsAreAveragedWhoeverClearsThem) {
  // Targets 0, 1, 2, ...: the mean of four gradients w - t is w - mean(t).
  for (const LRClosure kind :
       {LRClosure::kCallsBackward, LRClosure::kReturnsGraph}) {
    for (const bool clears : {false, true}) {
      auto w = leaf({5});
      SGD optimizer({w}, SGDOptions(1));
      int call = 0;
      const auto closure = [&] {
        if (clears) optimizer.zero_grad();
        auto loss = (w - call++).square().sum() / 2;
        if (kind == LRClosure::kCallsBackward) loss.backward();
        return loss;
      };
      const auto result = lr_range_test(
          {w},
          optimizer,
          closure,
          LRRangeTestOptions()
              .start_lr(0.1)
              .end_lr(0.4)
              .num_iterations(4)
              .spacing(LRSpacing::kLinear)
              .accumulation_steps(4)
              .closure(kind));
      EXPECT_EQ(call, 16);
      double value = 5;
      for (int i = 0; i < 4; ++i) {
        double loss = 0;
        for (int k = 0; k < 4; ++k) {
          loss += (value - 4 * i - k) * (value - 4 * i - k) / 8;
        }
        EXPECT_NEAR(result.losses[static_cast<std::size_t>(i)], loss, 1e-12);
        value -= 0.1 * (i + 1) * (value - 4 * i - 1.5);
      }
    }
  }
}

TEST(LRRangeTest, GroupsKeepTheirRatioToTheFirst) {
  auto first = leaf({1});
  auto second = leaf({1});
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<torch::Tensor>{first});
  groups.emplace_back(std::vector<torch::Tensor>{second});
  SGD optimizer(groups, SGDOptions(0.5));
  auto& other = optimizer.param_groups()[1].options();
  double wanted = 0.25;
  other.set_lr(0.125);
  auto options = LRRangeTestOptions().num_iterations(5).progress(
      [&](int64_t, double lr, double) {
        EXPECT_EQ(optimizer.param_groups()[0].options().get_lr(), lr);
        EXPECT_EQ(other.get_lr(), lr * wanted);
        return true;
      });
  const auto closure = [&] {
    auto loss = (first * second).square().sum();
    loss.backward();
    return loss;
  };
  lr_range_test({}, optimizer, closure, options);
  wanted = 3;
  options.group_ratios({1, 3});
  lr_range_test({}, optimizer, closure, options);
  // As at the start of a warm-up.
  for (auto& group : optimizer.param_groups()) group.options().set_lr(0);
  wanted = 1;
  options.group_ratios({});
  lr_range_test({}, optimizer, closure, options);
  EXPECT_EQ(other.get_lr(), 0);
  other.set_lr(0.5);
  EXPECT_EQ(
      test::message_of([&] { lr_range_test({}, optimizer, closure, options); }),
      "LRRangeTest: the rate of the first parameter group must be > 0 where "
      "others have one, got 0; give the groups' ratios in group_ratios");
}

TEST(LRRangeTest, ValidationMakesTheCurve) {
  torch::manual_seed(1);
  auto net = test::small_net();
  SGD optimizer(net->parameters(), SGDOptions(0.1));
  net[3]->eval();
  int validations = 0;
  const auto result = lr_range_test(
      *net,
      optimizer,
      [&] {
        EXPECT_TRUE(net->is_training());
        EXPECT_FALSE(net[3]->is_training());
        auto loss = test::random_loss(net);
        loss.backward();
        return loss;
      },
      LRRangeTestOptions().num_iterations(12).validation([&] {
        EXPECT_FALSE(net->is_training());
        EXPECT_FALSE(net[1]->is_training());
        EXPECT_FALSE(torch::GradMode::is_enabled());
        return torch::tensor(100.0 - validations++);
      }));
  EXPECT_EQ(validations, 12);
  EXPECT_EQ(result.losses.front(), 100);
  EXPECT_EQ(result.losses.back(), 89);
}

TEST(LRRangeTest, MeasuresTheLimitOfStability) {
  // Curvatures 1, 4 and 10: 2 / 10.
  for (const LRClosure kind :
       {LRClosure::kCallsBackward, LRClosure::kReturnsGraph}) {
    const auto limit = [&](const auto& make) {
      auto w = leaf({1, 1, 1});
      const auto curvature = torch::tensor({1.0, 4.0, 10.0}, torch::kFloat64);
      auto optimizer = make(w);
      torch::manual_seed(4);
      return lr_range_test(
                 {w},
                 optimizer,
                 [&] {
                   auto loss = (curvature * w.square()).sum() / 2;
                   if (kind == LRClosure::kCallsBackward) loss.backward();
                   return loss;
                 },
                 LRRangeTestOptions()
                     .num_iterations(4)
                     .closure(kind)
                     .measure_max_stable_lr(true))
          .max_stable_lr;
    };
    EXPECT_NEAR(
        limit([](auto& w) { return SGD({w}, SGDOptions(0.1)); }).value(),
        0.2,
        0.002);
    EXPECT_NEAR(
        limit([](auto& w) {
          return ClippedSGD({w}, ClippedSGDOptions(0.1).momentum(0.75));
        }).value(),
        0.05,
        0.0005);
    EXPECT_FALSE(limit([](auto& w) {
      return torch::optim::Adam({w}, torch::optim::AdamOptions(0.1));
    }));
  }
}

// Of the curvatures 1, 3 and 40, with that optimizer.
std::optional<double> limit_on_a_quadratic(
    const SGDOptions& options, MomentumLimit kind) {
  auto w = leaf({1, 1, 1});
  const auto curvature = torch::tensor({1.0, 3.0, 40.0}, torch::kFloat64);
  SGD optimizer({w}, options);
  torch::manual_seed(4);
  return lr_range_test(
             {w},
             optimizer,
             [&] { return (curvature * w.square()).sum() / 2; },
             LRRangeTestOptions()
                 .num_iterations(4)
                 .closure(LRClosure::kReturnsGraph)
                 .momentum_limit(kind)
                 .measure_max_stable_lr(true))
      .max_stable_lr;
}

TEST(LRRangeTest, TheLimitCountsWeightDecayAndDampening) {
  constexpr auto kQuadratic = MomentumLimit::kQuadratic;
  constexpr auto kEffective = MomentumLimit::kEffectiveRate;
  const auto sgd = SGDOptions(0.1).weight_decay(60);
  // 2 / (40 + 60).
  EXPECT_NEAR(limit_on_a_quadratic(sgd, kQuadratic).value(), 0.02, 2e-4);
  const auto dampened =
      SGDOptions(0.1).weight_decay(60).momentum(0.5).dampening(0.25);
  // (2 + 2 m) / (1 - d) / 100 and (2 - 2 m) / (1 - d) / 100.
  EXPECT_NEAR(limit_on_a_quadratic(dampened, kQuadratic).value(), 0.04, 4e-4);
  EXPECT_NEAR(
      limit_on_a_quadratic(dampened, kEffective).value(), 0.04 / 3, 2e-4);
  // Without momentum there is nothing to dampen.
  EXPECT_NEAR(
      limit_on_a_quadratic(SGDOptions(0.1).dampening(0.5), kQuadratic).value(),
      0.05,
      5e-4);
  // Nothing of the gradient enters the buffer: there is no limit.
  EXPECT_FALSE(limit_on_a_quadratic(
      SGDOptions(0.1).momentum(0.5).dampening(1), kQuadratic));
}

// Just below the limit gradient descent comes to rest, just above it leaves.
TEST(LRRangeTest, TheLimitIsWhereSGDBeginsToDiverge) {
  auto options = SGDOptions(0.1).weight_decay(60).momentum(0.5).dampening(0.25);
  const double limit =
      limit_on_a_quadratic(options, MomentumLimit::kQuadratic).value();
  const auto size_after = [&](double lr) {
    auto w = leaf({1, 1, 1});
    const auto curvature = torch::tensor({1.0, 3.0, 40.0}, torch::kFloat64);
    SGD optimizer({w}, options.lr(lr));
    for (int i = 0; i < 800; ++i) {
      w.mutable_grad() = curvature * w.detach();
      optimizer.step();
    }
    return w.norm().item<double>();
  };
  EXPECT_LT(size_after(0.95 * limit), 1e-3);
  EXPECT_GT(size_after(1.05 * limit), 1e3);
}

TEST(LRRangeTest, TheLimitIsTheOneOfCurvatureLR) {
  const auto options = SGDOptions(0.1).weight_decay(60).momentum(0.5);
  for (const auto kind :
       {MomentumLimit::kQuadratic, MomentumLimit::kEffectiveRate}) {
    auto w = leaf({1, 1, 1});
    const auto curvature = torch::tensor({1.0, 3.0, 40.0}, torch::kFloat64);
    SGD optimizer({w}, options);
    CurvatureLR scheduler(
        optimizer,
        CurvatureLROptions().momentum_limit(kind).tracker(
            SharpnessTrackerOptions().safety(1)));
    scheduler.observe((curvature * w.square()).sum() / 2);
    const double lr = optimizer.param_groups()[0].options().get_lr();
    EXPECT_NEAR(limit_on_a_quadratic(options, kind).value(), lr, 0.01 * lr);
  }
}

// A range test of w with SGD and that momentum, from `start` on.
LRRangeTestResult tested(
    const LossClosure& loss,
    torch::Tensor& w,
    double momentum,
    bool measures,
    double end_lr) {
  SGD optimizer({w}, SGDOptions(0.1).momentum(momentum));
  torch::manual_seed(4);
  return lr_range_test(
      {w},
      optimizer,
      loss,
      LRRangeTestOptions()
          .end_lr(end_lr)
          .closure(LRClosure::kReturnsGraph)
          .measure_max_stable_lr(measures));
}

TEST(LRRangeTest, SuggestsNothingAboveTheLimitOfAQuadratic) {
  const auto curvature = torch::tensor({0.001, 0.03, 1.0}, torch::kFloat64);
  for (const double momentum : {0.0, 0.75}) {
    auto w = leaf({30, 5, 0.001});
    const auto loss = [&] { return (curvature * w.square()).sum() / 2; };
    const double limit = 2 * (1 + momentum);
    const auto free = tested(loss, w, momentum, false, 100);
    EXPECT_GT(free.suggestions.peak.value(), 1.05 * limit);
    const auto capped = tested(loss, w, momentum, true, 100);
    EXPECT_EQ(capped.losses, free.losses);
    EXPECT_NEAR(capped.suggestions.peak.value(), limit, 0.02 * limit);
    EXPECT_LE(capped.suggestion(), *capped.suggestions.peak);
    EXPECT_EQ(
        capped.max_stable_lr.value() > 0 &&
            capped.max_stable_lr_at_lowest.value() > 0,
        true);
    EXPECT_NE(
        capped.reason.find("; the suggestions end at the limit of stability, "),
        std::string::npos)
        << capped.reason;
    EXPECT_TRUE(w.equal(leaf({30, 5, 0.001})));
  }
}

TEST(LRRangeTest, TheLimitOfTheStartIsNoneWhereTheCurvatureFalls) {
  // Logistic regression of what a line parts: its curvature goes to 0.
  auto w = leaf({0, 0});
  const auto x = torch::tensor({1.0, 0.2, 2.0, -0.3, 0.5, 0.4}, torch::kFloat64)
                     .view({3, 2});
  const auto loss = [&] { return torch::softplus(-x.mv(w)).mean(); };
  const auto result = tested(loss, w, 0, true, 1000);
  const auto free = tested(loss, w, 0, false, 1000);
  EXPECT_GT(
      result.max_stable_lr_at_lowest.value(),
      10 * result.max_stable_lr.value());
  EXPECT_EQ(result.suggestions.peak, free.suggestions.peak);
  EXPECT_GT(result.suggestions.peak.value(), result.max_stable_lr.value());
}

// Curvatures 1 and 100 in two groups, the second at ten times the rate.
std::optional<double> limit_of_two_groups(
    const SGDOptions& second, const std::vector<double>& ratios) {
  auto flat = leaf({1});
  auto steep = leaf({1});
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<torch::Tensor>{flat});
  groups.emplace_back(
      std::vector<torch::Tensor>{steep}, std::make_unique<SGDOptions>(second));
  SGD optimizer(groups, SGDOptions(0.01));
  torch::manual_seed(4);
  return lr_range_test(
             {},
             optimizer,
             [&] { return (flat.square() + 100 * steep.square()).sum() / 2; },
             LRRangeTestOptions()
                 .num_iterations(4)
                 .closure(LRClosure::kReturnsGraph)
                 .group_ratios(ratios)
                 .measure_max_stable_lr(true))
      .max_stable_lr;
}

TEST(LRRangeTest, TheLimitOfStabilityCountsTheGroupsRates) {
  // The steep one moves by ten times the rate: 10 lr 100 = 2.
  EXPECT_NEAR(limit_of_two_groups(SGDOptions(0.1), {}).value(), 0.002, 2e-5);
  EXPECT_NEAR(limit_of_two_groups(SGDOptions(0.1), {1, 1}).value(), 0.02, 2e-4);
  // The steep one stands still.
  EXPECT_NEAR(limit_of_two_groups(SGDOptions(0.1), {1, 0}).value(), 2, 0.02);
  EXPECT_FALSE(limit_of_two_groups(SGDOptions(0.1).momentum(0.5), {}));
}

TEST(LRRangeTest, MeasuresTheLimitOfATableWithSparseGradients) {
  // A look-up has curvature 2, and row 2 is looked up twice: 2 / 4.
  for (const LRClosure kind :
       {LRClosure::kCallsBackward, LRClosure::kReturnsGraph}) {
    auto table = torch::ones({4, 2}, torch::kFloat64).requires_grad_(true);
    const auto chosen = torch::tensor({1, 2, 2});
    SGD optimizer({table}, SGDOptions(0.1));
    torch::manual_seed(4);
    const auto result = lr_range_test(
        {table},
        optimizer,
        [&] {
          auto loss = torch::embedding(
                          table,
                          chosen,
                          /*padding_idx=*/-1,
                          /*scale_grad_by_freq=*/false,
                          /*sparse=*/true)
                          .square()
                          .sum();
          if (kind == LRClosure::kCallsBackward) loss.backward();
          return loss;
        },
        LRRangeTestOptions()
            .num_iterations(4)
            .closure(kind)
            .measure_max_stable_lr(true));
    EXPECT_NEAR(result.max_stable_lr.value(), 0.5, 0.005);
  }
}

TEST(LRRangeTest, TakesAModuleThatIsHeld) {
  const auto options =
      LRRangeTestOptions().start_lr(0.01).end_lr(1).num_iterations(9);
  const auto data = torch::linspace(-1, 1, 12).view({4, 3});
  const auto losses_of = [&](auto& model, auto&& argument) {
    SGD optimizer(model->parameters(), SGDOptions(0.1));
    const auto before = model->weight.detach().clone();
    const auto losses = lr_range_test(
                            argument,
                            optimizer,
                            [&] {
                              auto loss = model->forward(data).square().mean();
                              loss.backward();
                              return loss;
                            },
                            options)
                            .losses;
    EXPECT_TRUE(torch::equal(model->weight, before));
    return losses;
  };
  torch::nn::Linear holder(3, 2);
  const auto pointer = holder.ptr();
  const auto expected = losses_of(holder, *holder);
  EXPECT_EQ(expected.size(), 9U);
  EXPECT_EQ(losses_of(holder, holder), expected);
  EXPECT_EQ(losses_of(pointer, pointer), expected);
  const std::shared_ptr<torch::nn::LinearImpl> none;
  EXPECT_EQ(
      test::message_of([&] { losses_of(pointer, none); }),
      "lr_range_test: the module is null");
}

}  // namespace
}  // namespace stepsize
