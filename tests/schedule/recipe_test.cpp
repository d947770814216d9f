#include <stepsize/schedule/recipe.h>

#include "tests/schedule/refusal.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace stepsize {
namespace {

using OneCycle = OneCycleOptions;
using TriStage = TriStageOptions;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
const double kPi = std::acos(-1.0);

double cosine_between(double from, double to, double x) {
  return to + (from - to) * (1 + std::cos(kPi * x)) / 2;
}

double line_between(double from, double to, double x) {
  return from + (to - from) * x;
}

TEST(OneCycle, HasThePhasesOfThePaper) {
  for (const double length : {10.0, 100.0, 12345.0}) {
    for (const double share : {0.1, 0.3, 0.45}) {
      for (const bool linear : {false, true}) {
        for (const bool three : {false, true}) {
          const auto between = linear ? line_between : cosine_between;
          const Schedule schedule = one_cycle(
              length,
              OneCycle()
                  .pct_start(share)
                  .div_factor(20)
                  .final_div_factor(500)
                  .three_phase(three)
                  .anneal_strategy(
                      linear ? AnnealStrategy::kLinear
                             : AnnealStrategy::kCosine));
          const double initial = 1.0 / 20;
          const double last = initial / 500;
          const double up = share * length;
          EXPECT_DOUBLE_EQ(schedule.length(), length);
          for (int i = 0; i <= 100; ++i) {
            const double t = length * i / 100;
            const double expected =
                t <= up  ? between(initial, 1, t / up)
                : !three ? between(1, last, (t - up) / (length - up))
                : t <= 2 * up
                    ? between(1, initial, t / up - 1)
                    : between(initial, last, (t - 2 * up) / (length - 2 * up));
            EXPECT_NEAR(schedule(t), expected, 1e-14) << t;
          }
        }
      }
    }
  }
}

TEST(OneCycle, HasTheUsualDefaults) {
  const Schedule schedule = one_cycle(100);
  EXPECT_EQ(schedule(0), 1.0 / 25);
  EXPECT_DOUBLE_EQ(schedule(15), 0.52);
  EXPECT_EQ(schedule(30), 1);
  EXPECT_DOUBLE_EQ(schedule(65), (1 + 4e-6) / 2);
  EXPECT_DOUBLE_EQ(schedule(100), 4e-6);
  EXPECT_EQ(schedule(1e15), schedule(100));
}

TEST(OneCycle, TakesExtremeKnobs) {
  const Schedule from_zero = one_cycle(10, OneCycle().div_factor(kInf));
  EXPECT_EQ(from_zero(0), 0);
  EXPECT_EQ(from_zero(3), 1);
  EXPECT_EQ(one_cycle(10, OneCycle().final_div_factor(kInf))(10), 0);
  EXPECT_EQ(one_cycle(10, OneCycle().pct_start(0))(0), 1);
  EXPECT_EQ(one_cycle(10, OneCycle().pct_start(1))(10), 4e-6);
  EXPECT_DOUBLE_EQ(one_cycle(0)(0), 4e-6);
}

TEST(WarmupStableDecay, IsItsThreeParts) {
  struct {
    CooldownShape shape;
    double halfway;
  } const cases[] = {
      {CooldownShape::kLinear, 0.55},
      {CooldownShape::kCosine, 0.55},
      {CooldownShape::kSqrt, 1 - 0.9 * std::sqrt(0.5)},
      {CooldownShape::kSquare, 1 - 0.9 * 0.25},
      {CooldownShape::kHalfLife, 0.1 + 0.9 * (std::sqrt(2.0) - 1)},
      {CooldownShape::kExponential, std::sqrt(0.1)}};
  for (const auto& c : cases) {
    const Schedule schedule = warmup_stable_decay(9, 50, 40, c.shape, 0.1);
    EXPECT_EQ(schedule.length(), 99);
    EXPECT_DOUBLE_EQ(schedule(0), 0.1);
    EXPECT_DOUBLE_EQ(schedule(4), 0.5);
    for (const double t : {9.0, 30.0, 59.0}) {
      EXPECT_EQ(schedule(t), 1) << t;
    }
    EXPECT_DOUBLE_EQ(schedule(79), c.halfway);
    EXPECT_EQ(schedule(99), 0.1);
    EXPECT_EQ(schedule(1e15), 0.1);
  }
  EXPECT_EQ(warmup_stable_decay(0, 0, 10)(5), 0.5);
}

TEST(TriStage, RisesHoldsAndDecaysExponentially) {
  const Schedule schedule =
      tri_stage(10, 20, 40, TriStage().init_scale(0.1).final_scale(1e-4));
  EXPECT_EQ(schedule(0), 0.1);
  EXPECT_DOUBLE_EQ(schedule(5), 0.55);
  EXPECT_EQ(schedule(10), 1);
  EXPECT_EQ(schedule(30), 1);
  for (double t = 30; t <= 70; ++t) {
    const double decay_factor = -std::log(1e-4) / 40;
    EXPECT_NEAR(schedule(t) / std::exp(-decay_factor * (t - 30)), 1, 1e-13);
  }
  EXPECT_EQ(schedule(1e15), 1e-4);
  EXPECT_EQ(tri_stage(10, 20, 40)(0), 0.01);
  EXPECT_EQ(tri_stage(10, 20, 40)(70), 0.01);
}

TEST(FlatCosine, HoldsAndThenFalls) {
  const Schedule schedule = flat_cosine(200, 0.72, 0.1);
  for (double t = 0; t <= 144; ++t) {
    EXPECT_EQ(schedule(t), 1);
  }
  for (double t = 144; t <= 200; ++t) {
    EXPECT_NEAR(schedule(t), cosine_between(1, 0.1, (t - 144) / 56), 1e-15);
  }
  EXPECT_EQ(schedule(201), 0.1);
  EXPECT_EQ(flat_cosine(200, 1)(200), 0);
  EXPECT_DOUBLE_EQ(flat_cosine(200, 0)(100), 0.5);
}

TEST(SlantedTriangular, FollowsThePaper) {
  const double length = 1000;
  for (const double cut_share : {0.1, 0.25}) {
    const double ratio = 32;
    const double cut = length * cut_share;
    const Schedule schedule = slanted_triangular(length, cut_share, ratio);
    for (double t = 0; t <= length; ++t) {
      const double p =
          t < cut ? t / cut : 1 - (t - cut) / (cut * (1 / cut_share - 1));
      EXPECT_NEAR(schedule(t), (1 + p * (ratio - 1)) / ratio, 1e-14) << t;
    }
  }
}

TEST(Recipe, ArriveAtTheirEndWhateverTheLength) {
  // Shares such as these make parts whose lengths do not add up in doubles.
  for (int n = 1; n < 2000; ++n) {
    const double length = n / 7.0;
    for (const double share : {0.1, 0.3, 0.45}) {
      EXPECT_EQ(flat_cosine(length, share)(length + 1), 0) << length;
      EXPECT_EQ(slanted_triangular(length, share)(length + 1), 1.0 / 32);
      EXPECT_EQ(
          one_cycle(
              length,
              OneCycle().pct_start(share).final_div_factor(kInf).three_phase(
                  true))(length + 1),
          0)
          << length;
    }
  }
}

TEST(Recipe, RefusesBadArguments) {
  const auto wsd = [](double w, double s, double d, double floor = 0) {
    warmup_stable_decay(w, s, d, CooldownShape::kLinear, floor);
  };
  const testing::Refusal refusals[] = {
      {[] { one_cycle(-1); }, {"one_cycle", "length", ">= 0", "-1"}},
      {[] { one_cycle(kInf); }, {"one_cycle", "length", "finite", "inf"}},
      {[] { OneCycle().pct_start(1.1); }, {"pct_start", "[0, 1]", "1.1"}},
      {[] { OneCycle().pct_start(kNan); }, {"pct_start", "nan"}},
      {[] { OneCycle().div_factor(0.5); }, {"div_factor", ">= 1", "0.5"}},
      {[] { OneCycle().div_factor(kNan); }, {"div_factor", "nan"}},
      {[] { OneCycle().final_div_factor(0); }, {"final_div", "> 0", "0"}},
      {[] { one_cycle(9, OneCycle().pct_start(0.6).three_phase(true)); },
       {"one_cycle", "pct_start", "1/2", "0.6"}},
      {[wsd] { wsd(-1, 1, 1); },
       {"warmup_stable_decay", "warmup_length", "-1"}},
      {[wsd] { wsd(1, kNan, 1); },
       {"warmup_stable_decay", "stable_length", "nan"}},
      {[wsd] { wsd(1, 1, kInf); },
       {"warmup_stable_decay", "decay_length", "inf"}},
      {[wsd] { wsd(1, 1, 1, 1.5); },
       {"warmup_stable_decay", "floor", "[0, 1]", "1.5"}},
      {[] { warmup_stable_decay(1, 1, 1, CooldownShape::kExponential); },
       {"warmup_stable_decay", "floor", "(0, 1]", "got 0"}},
      {[] { tri_stage(-1, 1, 1); }, {"tri_stage", "warmup_length", "-1"}},
      {[] { tri_stage(1, -1, 1); }, {"tri_stage", "hold_length", "-1"}},
      {[] { tri_stage(1, 1, -1); }, {"tri_stage", "decay_length", "-1"}},
      {[] { TriStage().init_scale(2); }, {"init_scale", "[0, 1]", "2"}},
      {[] { TriStage().final_scale(0); }, {"final_scale", "(0, 1]", "0"}},
      {[] { flat_cosine(-1); }, {"flat_cosine", "length", "-1"}},
      {[] { flat_cosine(9, 2); }, {"flat_cosine", "flat_share", "2"}},
      {[] { flat_cosine(9, 0, -1); }, {"flat_cosine", "floor", "-1"}},
      {[] { slanted_triangular(-1); }, {"slanted_triangular", "-1"}},
      {[] { slanted_triangular(9, 1.5); }, {"cut_share", "[0, 1]", "1.5"}},
      {[] { slanted_triangular(9, 0.1, 0.5); }, {"ratio", ">= 1", "0.5"}},
      {[] { slanted_triangular(9, 0.1, kInf); }, {"ratio", "inf"}}};
  for (const testing::Refusal& refusal : refusals) {
    EXPECT_TRUE(testing::is_refused(refusal));
  }
}

}  // namespace
}  // namespace stepsize
