// The classes that Python's torch does not have, against their formulas.

#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/inverse_sqrt_lr.h>
#include <stepsize/lr_scheduler/inverse_time_lr.h>
#include <stepsize/lr_scheduler/linear_warmup_lr.h>
#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/lr_scheduler/warmup_cosine_lr.h>
#include <stepsize/lr_scheduler/warmup_stable_decay_lr.h>
#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/ramp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <vector>

#include "tests/lr_scheduler/support/spec.h"
#include "tests/support/error_text.h"

namespace stepsize::test {
namespace {

constexpr double kBase = 0.2;
const double kPi = std::acos(-1.0);

/// The rate of the one group for t = 0 .. 299 is formula(t), to rounding.
void expect_formula(
    RuleLR& scheduler,
    const torch::optim::Optimizer& optimizer,
    const std::function<double(double)>& formula) {
  for (int t = 0; t < 300; ++t) {
    const double expected = formula(t);
    ASSERT_NEAR(lrs_of(optimizer)[0], expected, 1e-15) << "t = " << t;
    scheduler.step();
  }
}

TEST(ScheduleLR, RateIsBaseTimesTheSchedule) {
  const Schedule schedule = warmup(20).then(cosine(200, 0.1));
  const auto optimizer = make_optimizer("SGD", {kBase, 3.0});
  ScheduleLR scheduler(*optimizer, schedule);
  EXPECT_EQ(scheduler.schedule(), schedule);
  EXPECT_EQ(scheduler.describe(), "ScheduleLR(" + schedule.to_string() + ")");
  for (int t = 0; t < 300; ++t) {
    EXPECT_EQ(
        lrs_of(*optimizer),
        std::vector<double>({kBase * schedule(t), 3.0 * schedule(t)}));
    scheduler.step();
  }
}

TEST(ScheduleLR, ACallableThatThrowsChangesNothing) {
  const auto optimizer = make_optimizer("SGD", {kBase});
  ScheduleLR scheduler(*optimizer, callable([](double t) {
    if (t > 1.5) throw std::runtime_error("no more");
    return 1.0 - 0.1 * t;
  }));
  scheduler.step();
  EXPECT_THROW(scheduler.step(), std::runtime_error);
  EXPECT_EQ(scheduler.last_epoch(), 1);
  EXPECT_DOUBLE_EQ(lrs_of(*optimizer)[0], 0.9 * kBase);
}

TEST(ScheduleLR, TakesAScheduleAGroup) {
  const auto optimizer = make_optimizer("SGD", {kBase, 2 * kBase});
  ScheduleLR scheduler(*optimizer, {"linear 10", "constant 0.5"});
  EXPECT_EQ(
      scheduler.describe(),
      "ScheduleLR(schedules=[ScheduleLR(linear 10), ScheduleLR(constant "
      "0.5)])");
  EXPECT_EQ(scheduler.schedule(1).to_string(), "constant 0.5");
  for (int t = 0; t <= 12; ++t) {
    EXPECT_NEAR(
        lrs_of(*optimizer)[0], kBase * std::max(0.0, 1 - t / 10.0), 1e-15);
    EXPECT_DOUBLE_EQ(lrs_of(*optimizer)[1], kBase);
    scheduler.step();
  }
  EXPECT_EQ(scheduler.rule().length(), constant().length());
}

TEST(ScheduleLR, AListOfOneIsForAllGroups) {
  const auto optimizer = make_optimizer("SGD", {kBase, 2 * kBase});
  ScheduleLR scheduler(*optimizer, std::vector<Schedule>{constant(0.5)});
  EXPECT_EQ(lrs_of(*optimizer), (std::vector<double>{kBase / 2, kBase}));
}

TEST(ScheduleLR, RefusesAnotherNumberOfSchedules) {
  const auto optimizer = make_optimizer("SGD", {kBase, kBase, kBase});
  const auto refusal = [&](const std::vector<Schedule>& list) {
    return message_of([&] { ScheduleLR(*optimizer, list); });
  };
  EXPECT_EQ(
      refusal({linear(9), linear(9)}),
      "ScheduleLR: the list has 2 values, expected 3 (the parameter groups), "
      "or one for all");
  EXPECT_EQ(
      refusal({}),
      "ScheduleLR: the list must have one schedule a parameter group, or one "
      "for all, got none");
  EXPECT_ANY_THROW(ScheduleLR(*optimizer, {"linear 9", "linnear 9", "rex 9"}));
  EXPECT_EQ(lrs_of(*optimizer), (std::vector<double>{kBase, kBase, kBase}));
}

TEST(LinearWarmupLR, ClimbsInEqualIncrements) {
  const auto optimizer = make_optimizer("SGD", {kBase});
  LinearWarmupLR scheduler(*optimizer, 9);
  expect_formula(scheduler, *optimizer, [](double t) {
    return kBase * std::min(t + 1, 10.0) / 10;
  });
}

TEST(LinearWarmupLR, StartsWhereItIsTold) {
  const auto optimizer = make_optimizer("SGD", {kBase});
  LinearWarmupLR scheduler(
      *optimizer, LinearWarmupLROptions(10).start_factor(0.5));
  expect_formula(scheduler, *optimizer, [](double t) {
    return kBase * (0.5 + 0.5 * std::min(t, 10.0) / 10);
  });
}

TEST(WarmupCosineLR, MeetsWithoutAJumpAndEndsAtTheFloor) {
  const auto optimizer = make_optimizer("SGD", {kBase});
  WarmupCosineLR scheduler(
      *optimizer,
      WarmupCosineLROptions(40, 240).start_factor(0.1).eta_min(0.01));
  expect_formula(scheduler, *optimizer, [](double t) {
    if (t < 40) return kBase * (0.1 + 0.9 * t / 40);
    const double x = std::min((t - 40) / 200, 1.0);
    return 0.01 + (kBase - 0.01) * (1 + std::cos(kPi * x)) / 2;
  });
  EXPECT_EQ(lrs_of(*optimizer)[0], 0.01);
}

TEST(WarmupCosineLR, NeedsNoWarmup) {
  const auto optimizer = make_optimizer("SGD", {kBase});
  WarmupCosineLR scheduler(*optimizer, WarmupCosineLROptions(0, 300));
  expect_formula(scheduler, *optimizer, [](double t) {
    return kBase * (1 + std::cos(kPi * t / 300)) / 2;
  });
}

TEST(InverseTimeLR, FallsLikeOneOverTime) {
  const auto optimizer = make_optimizer("SGD", {kBase});
  InverseTimeLR scheduler(
      *optimizer, InverseTimeLROptions(0.5).decay_steps(20));
  expect_formula(scheduler, *optimizer, [](double t) {
    return kBase / (1 + 0.5 * t / 20);
  });
}

TEST(InverseTimeLR, FallsInStairs) {
  const auto optimizer = make_optimizer("SGD", {kBase});
  InverseTimeLR scheduler(
      *optimizer, InverseTimeLROptions(0.5).decay_steps(20).staircase(true));
  expect_formula(scheduler, *optimizer, [](double t) {
    return kBase / (1 + 0.5 * std::floor(t / 20));
  });
}

TEST(InverseSqrtLR, IsTheTransformersSchedule) {
  const auto optimizer = make_optimizer("SGD", {kBase});
  InverseSqrtLR scheduler(
      *optimizer, InverseSqrtLROptions(50).start_factor(0.0));
  expect_formula(scheduler, *optimizer, [](double t) {
    return t < 50 ? kBase * t / 50 : kBase * std::sqrt(50 / t);
  });
}

TEST(WarmupStableDecayLR, HasThreePhases) {
  const auto optimizer = make_optimizer("SGD", {kBase});
  WarmupStableDecayLR scheduler(
      *optimizer, WarmupStableDecayLROptions(9, 91, 100).floor(0.1));
  expect_formula(scheduler, *optimizer, [](double t) {
    if (t < 9) return kBase * (t + 1) / 10;
    if (t < 100) return kBase;
    return kBase * (0.1 + 0.9 * (1 - std::min((t - 100) / 100, 1.0)));
  });
}

TEST(WarmupStableDecayLR, CoolsDownFromTheStableRate) {
  const auto optimizer = make_optimizer("SGD", {kBase});
  WarmupStableDecayLR scheduler(
      *optimizer,
      WarmupStableDecayLROptions(0, 100000, 100)
          .cooldown_shape(CooldownShape::kSqrt)
          .floor(0.05));
  scheduler.seek(60);
  scheduler.begin_cooldown(40);
  scheduler.seek(0);
  expect_formula(scheduler, *optimizer, [](double t) {
    const double x = std::min(std::max((t - 60) / 40, 0.0), 1.0);
    return kBase * (0.05 + 0.95 * (1 - std::sqrt(x)));
  });
  EXPECT_EQ(lrs_of(*optimizer)[0], kBase * 0.05);
}

TEST(WarmupStableDecayLR, CoolsDownFromWithinTheWarmup) {
  const auto optimizer = make_optimizer("SGD", {kBase});
  WarmupStableDecayLR scheduler(
      *optimizer, WarmupStableDecayLROptions(99, 1000, 100).floor(0.1));
  scheduler.seek(49);
  scheduler.begin_cooldown(50);
  scheduler.seek(0);
  expect_formula(scheduler, *optimizer, [](double t) {
    if (t < 49) return kBase * (t + 1) / 100;
    const double x = std::min((t - 49) / 50, 1.0);
    return kBase * (0.1 + (0.5 - 0.1) * (1 - x));
  });
}

TEST(WarmupStableDecayLR, ACooldownReplacesTheOneToCome) {
  const auto optimizer = make_optimizer("SGD", {kBase});
  WarmupStableDecayLR scheduler(
      *optimizer, WarmupStableDecayLROptions(0, 100, 100));
  scheduler.seek(150);  // half way down
  scheduler.begin_cooldown(100);
  scheduler.seek(250);
  scheduler.begin_cooldown(5);  // has ended: holds zero
  scheduler.seek(0);
  expect_formula(scheduler, *optimizer, [](double t) {
    if (t < 150) return kBase * (1 - std::max(t - 100, 0.0) / 100);
    return kBase * 0.5 * (1 - std::min((t - 150) / 100, 1.0));
  });
}

TEST(WarmupStableDecayLR, ARateBelowTheFloorIsHeld) {
  const auto optimizer = make_optimizer("SGD", {kBase});
  WarmupStableDecayLR scheduler(
      *optimizer, WarmupStableDecayLROptions(99, 100, 100).floor(0.5));
  scheduler.seek(9);
  scheduler.begin_cooldown(20);
  for (const int64_t t : {9, 10, 20, 29, 100}) {
    EXPECT_DOUBLE_EQ(scheduler.lr_at(t)[0], kBase * 0.1) << t;
  }
}

TEST(WarmupStableDecayLR, ExtendStretchesARunningCooldown) {
  const auto optimizer = make_optimizer("SGD", {kBase});
  WarmupStableDecayLR scheduler(
      *optimizer, WarmupStableDecayLROptions(0, 1000, 100));
  scheduler.seek(100);
  scheduler.begin_cooldown(40);
  scheduler.seek(120);
  scheduler.extend(200);
  EXPECT_DOUBLE_EQ(scheduler.lr_at(120)[0], kBase * 0.5);
  EXPECT_DOUBLE_EQ(scheduler.lr_at(160)[0], kBase * 0.25);
  EXPECT_EQ(scheduler.lr_at(200)[0], 0.0);
  // And a new one counts steps of the clock again.
  scheduler.seek(160);
  scheduler.begin_cooldown(10);
  EXPECT_DOUBLE_EQ(scheduler.lr_at(165)[0], kBase * 0.125);
  EXPECT_EQ(scheduler.lr_at(170)[0], 0.0);
}

TEST(WarmupStableDecayLR, RefusesACooldownOfNoSteps) {
  const auto optimizer = make_optimizer("SGD", {kBase});
  WarmupStableDecayLR scheduler(
      *optimizer, WarmupStableDecayLROptions(0, 10, 10));
  EXPECT_THROW(scheduler.begin_cooldown(0), c10::Error);
  EXPECT_EQ(scheduler.lr_at(10)[0], kBase);
}

}  // namespace
}  // namespace stepsize::test
