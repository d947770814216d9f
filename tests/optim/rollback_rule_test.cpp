#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/optim/rollback_rule.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/error_text.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;

constexpr auto kAccepted = RollbackStatus::kAccepted;
constexpr auto kRolledBack = RollbackStatus::kRolledBack;

// Gradient descent on lambda x^2 / 2, whose norm goes as |1 - lr lambda|^t: the
// rollbacks in 60 steps, each confirmed by what the quadratic does.
int64_t rollbacks_on_a_quadratic(
    const RollbackOptions& options, double lr_lambda, bool can_confirm) {
  RollbackRule rule(options);
  double x = 1;
  double earlier = x;
  for (int step = 0; step < 60; ++step) {
    auto status = rule.observe(std::abs(x), can_confirm);
    if (status == RollbackStatus::kSuspect) {
      status = rule.confirm(std::abs(earlier), std::abs(x) > std::abs(earlier));
    }
    if (rule.keeps_point()) earlier = x;
    if (status == kRolledBack) x = earlier;
    x *= 1 - rule.rate_scale() * lr_lambda;
  }
  return rule.rollbacks();
}

TEST(RollbackRule, TheSeedRuleSeesARateOnlyBeyondTwoAndAHalf) {
  const auto seed = RollbackOptions::every_step();
  EXPECT_EQ(rollbacks_on_a_quadratic(seed, 2.49, false), 0);
  EXPECT_EQ(rollbacks_on_a_quadratic(seed, 2.51, false), 1);
  // 2.5 < 10 / 2^k first fails for k = 2.
  EXPECT_EQ(rollbacks_on_a_quadratic(seed, 10, false), 2);
}

TEST(RollbackRule, AWindowSeesSlowerGrowth) {
  // 1 + 1.5^(1/10) = 2.0414; the seed rule is blind for both. What shows in
  // longer windows is not looked at here.
  const auto options = RollbackOptions().slow_ratio(kInfinity);
  EXPECT_EQ(rollbacks_on_a_quadratic(options, 2.040, true), 0);
  EXPECT_EQ(rollbacks_on_a_quadratic(options, 2.043, true), 1);
  // 1 + 1.5^(1/3) = 2.1447.
  const auto shorter = RollbackOptions().window(3).slow_ratio(kInfinity);
  EXPECT_EQ(rollbacks_on_a_quadratic(shorter, 2.143, true), 0);
  EXPECT_EQ(rollbacks_on_a_quadratic(shorter, 2.146, true), 1);
}

TEST(RollbackRule, WithoutConfirmationItWaitsForASecondSuspectStep) {
  RollbackRule rule;
  rule.observe(1, false);
  EXPECT_EQ(rule.observe(11, false), kAccepted);
  EXPECT_EQ(rule.observe(1, false), kAccepted);
  EXPECT_EQ(rule.rollbacks(), 0);
  EXPECT_EQ(rule.observe(11, false), kAccepted);
  EXPECT_EQ(rule.observe(11, false), kRolledBack);
  EXPECT_EQ(rule.rate_scale(), 0.5);
  EXPECT_EQ(rule.observe(kNaN, false), kRolledBack);
  EXPECT_EQ(rule.rate_scale(), 0.25);
}

TEST(RollbackRule, TheGateKnowsWhatIsUsual) {
  RollbackRule rule;
  // Alternates by a factor of 3: usual, though above the ratio.
  for (int i = 0; i < 60; ++i) {
    EXPECT_EQ(rule.observe(i % 2 == 0 ? 1 : 3, false), kAccepted);
  }
  // log 3 / 2 is mean and deviation of the growth: the gate is at 9.
  EXPECT_EQ(rule.observe(8.5, false), kAccepted);
  EXPECT_EQ(rule.observe(8.5, false), kAccepted);
  EXPECT_EQ(rule.observe(1, false), kAccepted);
  EXPECT_EQ(rule.observe(40, true), RollbackStatus::kSuspect);
}

TEST(RollbackRule, LooksIntoHiddenGrowthOnceInAWhile) {
  RollbackRule rule;
  int suspects = 0;
  for (int i = 0; i < 1025; ++i) {
    if (rule.observe(i % 2 == 0 ? 1 : 3, true) == RollbackStatus::kSuspect) {
      rule.confirm(3, true);
      ++suspects;
    }
  }
  // i = 1, 3, .. 25, while there are fewer than 25 samples, then each 26th.
  EXPECT_EQ(suspects, 13 + 38);
  EXPECT_EQ(rule.checks(), suspects);
  EXPECT_EQ(rule.rollbacks(), 0);
}

TEST(RollbackRule, AnEqualGradientOnTheSameBatchOrAFallingLossClearsIt) {
  RollbackRule rule;
  rule.observe(1, true);
  ASSERT_EQ(rule.observe(100, true), RollbackStatus::kSuspect);
  EXPECT_EQ(rule.confirm(99, true), kAccepted);
  ASSERT_EQ(rule.observe(100, true), RollbackStatus::kSuspect);
  EXPECT_EQ(rule.confirm(1, false), kAccepted);
  ASSERT_EQ(rule.observe(100, true), RollbackStatus::kSuspect);
  EXPECT_EQ(rule.confirm(1, true), kRolledBack);
  EXPECT_EQ(rule.rollbacks(), 1);
  EXPECT_EQ(rule.checks(), 3);
}

TEST(RollbackRule, AMiniBatchThatIsNotFiniteIsNotTheStepsFault) {
  RollbackRule rule;
  EXPECT_EQ(rule.observe(kNaN, true), RollbackStatus::kNonFinite);
  rule.observe(1, true);
  for (const double bad : {kNaN, kInfinity}) {
    ASSERT_EQ(rule.observe(bad, true), RollbackStatus::kSuspect);
    EXPECT_EQ(rule.confirm(bad, false), RollbackStatus::kNonFinite);
  }
  EXPECT_EQ(rule.rate_scale(), 1);
  EXPECT_EQ(rule.non_finite(), 3);
  ASSERT_EQ(rule.observe(kNaN, true), RollbackStatus::kSuspect);
  EXPECT_EQ(rule.confirm(1, false), kRolledBack);
}

TEST(RollbackRule, GivesUpAfterSoManyRollbacksInARow) {
  RollbackRule rule(RollbackOptions().max_in_a_row(3));
  rule.observe(1, true);
  for (int i = 0; i < 3; ++i) {
    rule.observe(100, true);
    EXPECT_EQ(rule.confirm(1, true), kRolledBack);
  }
  rule.observe(100, true);
  EXPECT_EQ(rule.confirm(1, true), RollbackStatus::kGaveUp);
  EXPECT_TRUE(rule.keeps_point());
  EXPECT_EQ(rule.gave_up(), 1);
  EXPECT_EQ(rule.rollbacks(), 3);
  EXPECT_EQ(rule.rate_scale(), 0.125);
  // It is measured by the point that was taken.
  EXPECT_EQ(rule.observe(101, true), kAccepted);
}

TEST(RollbackRule, TheRateRecoversUpToItsBaseAndKeepsAFloor) {
  RollbackRule rule(
      RollbackOptions().recovery_steps(4).floor(0.3).max_in_a_row(9));
  rule.observe(1, true);
  for (const double scale : {0.5, 0.3, 0.3}) {
    rule.observe(100, true);
    rule.confirm(1, true);
    EXPECT_EQ(rule.rate_scale(), scale);
  }
  std::vector<double> scales;
  for (int i = 0; i < 13; ++i) {
    rule.observe(1, true);
    scales.push_back(rule.rate_scale());
  }
  EXPECT_THAT(
      scales,
      testing::ElementsAre(
          0.3, 0.3, 0.3, 0.6, 0.6, 0.6, 0.6, 1, 1, 1, 1, 1, 1));
}

TEST(RollbackRule, GoesOnFromItsState) {
  RollbackRule rule;
  torch::manual_seed(1);
  const auto noise = torch::randn({200}, torch::kFloat64).exp();
  RollbackRule resumed;
  for (int i = 0; i < 200; ++i) {
    if (i == 77) resumed.set_state(rule.state());
    const double norm = noise[i].item<double>();
    const auto status = rule.observe(norm, false);
    if (i >= 77) {
      EXPECT_EQ(resumed.observe(norm, false), status);
    }
  }
  EXPECT_EQ(resumed.state().mean, rule.state().mean);
  EXPECT_EQ(resumed.rate_scale(), rule.rate_scale());
  auto wrong = rule.state();
  wrong.scale = 0;
  EXPECT_THROW(resumed.set_state(wrong), c10::Error);
}

// The gradient of a network that saturates does not grow.
TEST(RollbackRule, ALossThatRisesByMoreThanTheMeanIsTakenBack) {
  const auto status_at = [](double norm, double loss, double earlier_loss) {
    RollbackRule rule;
    rule.observe(1, true, 2);
    EXPECT_EQ(rule.observe(10, true, loss), RollbackStatus::kSuspect);
    return rule.confirm_by_loss(norm, earlier_loss);
  };
  EXPECT_EQ(status_at(9, 5, 2), kRolledBack);
  // The mean is 2.
  EXPECT_EQ(status_at(9, 4.1, 2), kRolledBack);
  EXPECT_EQ(status_at(9, 3.9, 2), kAccepted);
  // However much the gradient has grown.
  EXPECT_EQ(status_at(1, 3, 2), kAccepted);
  // Losses that cannot be told apart, or are not known: the gradient decides.
  EXPECT_EQ(status_at(1, 2, 2), kRolledBack);
  EXPECT_EQ(status_at(9, 2, 2), kAccepted);
  EXPECT_EQ(status_at(1, kNaN, kNaN), kRolledBack);
}

TEST(RollbackRule, WithNegativeLossesTheGradientDecides) {
  RollbackRule rule;
  rule.observe(1, true, -100);
  ASSERT_EQ(rule.observe(10, true, -90), RollbackStatus::kSuspect);
  EXPECT_EQ(rule.confirm_by_loss(8, -99), kAccepted);
  ASSERT_EQ(rule.observe(100, true, -90), RollbackStatus::kSuspect);
  EXPECT_EQ(rule.confirm_by_loss(1, -99), kRolledBack);
}

TEST(RollbackRule, HoldsTheEarlierPointWhileTheMeanLossIsOutOfLine) {
  RollbackRule rule;
  rule.observe(1, true, 1);
  int64_t held = 0;
  int64_t checks = 0;
  for (int i = 0; i < 300; ++i) {
    // The norm tells nothing.
    if (rule.observe(1.1, true, 10) == RollbackStatus::kSuspect) {
      ++checks;
      rule.confirm_by_loss(1.1, 10);
    }
    if (rule.keeps_point()) break;
    ++held;
  }
  // Ten windows at most, with a look back in each.
  EXPECT_GE(held, 95);
  EXPECT_LE(held, 101);
  EXPECT_GE(checks, 8);
}

TEST(RollbackRule, ARecoveryThatIsTakenBackDoublesTheWait) {
  RollbackRule rule(RollbackOptions().recovery_steps(30));
  const auto fall = [&rule] {
    ASSERT_EQ(rule.observe(kNaN, true), RollbackStatus::kSuspect);
    ASSERT_EQ(rule.confirm(1, true), kRolledBack);
  };
  const auto steps_to_recover = [&rule] {
    const double scale = rule.rate_scale();
    int steps = 0;
    while (rule.rate_scale() == scale && steps < 1000) {
      rule.observe(1, true);
      ++steps;
    }
    return steps;
  };
  rule.observe(1, true);
  fall();
  EXPECT_EQ(steps_to_recover(), 30);
  fall();
  EXPECT_EQ(steps_to_recover(), 60);
  fall();
  // Two in a row are one failure.
  fall();
  EXPECT_EQ(steps_to_recover(), 120);
}

TEST(RollbackOptions, AreCheckedByName) {
  const auto refusal = [](const RollbackOptions& options) {
    return message_of([&] { RollbackRule rule(options); });
  };
  const std::vector<std::pair<RollbackOptions, std::string>> cases{
      {RollbackOptions().ratio(1), "ratio must be finite and > 1, got 1"},
      {RollbackOptions().ratio(kNaN), "ratio must be finite and > 1, got nan"},
      {RollbackOptions().factor(1), "factor must be in (0, 1), got 1"},
      {RollbackOptions().factor(0), "factor must be in (0, 1), got 0"},
      {RollbackOptions().window(0), "window must be >= 1, got 0"},
      {RollbackOptions().z_score(-1), "z_score must be finite and >= 0"},
      {RollbackOptions().gate_decay(1), "gate_decay must be in (0, 1)"},
      {RollbackOptions().gate_steps(0), "gate_steps must be >= 1"},
      {RollbackOptions().early_ratio(kInfinity), "early_ratio must be"},
      {RollbackOptions().slow_ratio(1), "slow_ratio must be > 1, got 1"},
      {RollbackOptions().slow_ratio(kNaN), "slow_ratio must be > 1, got nan"},
      {RollbackOptions().patience(0), "patience must be >= 1"},
      {RollbackOptions().max_in_a_row(0), "max_in_a_row must be >= 1"},
      {RollbackOptions().recovery_steps(-1), "recovery_steps must be >= 0"},
      {RollbackOptions().floor(1.5), "floor must be in [0, 1], got 1.5"},
      {RollbackOptions().buffers({torch::Tensor()}), "buffers must be defined"},
  };
  for (const auto& [options, text] : cases) {
    EXPECT_THAT(refusal(options), HasSubstr("RollbackRule: " + text));
  }
  EXPECT_EQ(refusal(RollbackOptions::every_step()), "nothing was thrown");
}

}  // namespace
}  // namespace stepsize::test
