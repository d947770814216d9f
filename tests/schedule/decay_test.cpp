#include <stepsize/schedule/decay.h>

#include <stepsize/schedule/ramp.h>

#include "tests/schedule/refusal.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

namespace stepsize {
namespace {

using testing::is_refused;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
const double kPi = std::acos(-1.0);

// The least double that is not below k * period, in exact arithmetic: fma
// tells on which side of the true product the rounded one lies.
double boundary(double k, double period) {
  const double t = k * period;
  return std::fma(k, period, -t) > 0 ? std::nextafter(t, kInf) : t;
}

class Staircase : public ::testing::TestWithParam<double> {};

TEST_P(Staircase, StepsAtEveryMultipleOfItsPeriodAndNotBefore) {
  const double period = GetParam();
  const Schedule halves = step_decay(period, 0.5);
  const Schedule stairs = inverse_time(1, period, true);
  for (int k = 1; k <= 20000; ++k) {
    const double t = boundary(k, period);
    const double before = std::nextafter(t, 0.0);
    ASSERT_EQ(stairs(t), 1.0 / (1 + k)) << k;
    ASSERT_EQ(stairs(before), 1.0 / k) << k;
    if (k < 1000) {
      ASSERT_EQ(halves(t), std::ldexp(1, -k)) << k;
      ASSERT_EQ(halves(before), std::ldexp(1, 1 - k)) << k;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Decay,
    Staircase,
    ::testing::Values(0.1, 0.3, 1.0 / 3, 1.0, 3.0, 7.0, 617.25, 1e-3));

TEST(Staircase, IsExactAtLargeWholeTimes) {
  for (const double period : {3.0, 7.0, 1000.0}) {
    const Schedule stairs = inverse_time(1e-9, period, true);
    const auto whole = static_cast<int64_t>(period);
    for (int64_t t = 999999999999990; t <= 1000000000000010; ++t) {
      const auto passed = static_cast<double>(t / whole);
      EXPECT_EQ(stairs(static_cast<double>(t)), 1 / (1 + 1e-9 * passed)) << t;
    }
  }
}

TEST(StepDecay, TakesAnyGamma) {
  EXPECT_EQ(step_decay(10, 0)(9), 1);
  EXPECT_EQ(step_decay(10, 0)(10), 0);
  EXPECT_EQ(step_decay(10, 1)(1e15), 1);
  EXPECT_EQ(step_decay(10, 2)(35), 8);
  EXPECT_DOUBLE_EQ(step_decay(30)(90), 1e-3);
  EXPECT_EQ(step_decay(10).length(), kInf);
}

TEST(MultiStep, CountsTheMilestonesPassed) {
  const std::vector<double> milestones = {0, 3, 3, 7.5, 1e15};
  const Schedule schedule = multi_step(milestones, 0.5);
  for (const double t : {0.0, 2.9, 3.0, 7.0, 7.5, 8.0, 1e15 - 1, 1e15, 1e16}) {
    int passed = 0;
    for (const double milestone : milestones) {
      passed += milestone <= t ? 1 : 0;
    }
    EXPECT_EQ(schedule(t), std::ldexp(1, -passed)) << t;
  }
  EXPECT_EQ(schedule.length(), 1e15);
}

TEST(Exponential, IsTheProductOfGammas) {
  const Schedule schedule = exponential(0.97);
  double product = 1;
  for (int t = 0; t < 1000; ++t) {
    EXPECT_NEAR(schedule(t) / product, 1, 1e-12);
    product *= 0.97;
  }
  EXPECT_DOUBLE_EQ(exponential(0.25)(0.5), 0.5);
  EXPECT_EQ(exponential(0.5)(1e15), 0);
  EXPECT_EQ(exponential(2)(10), 1024);
}

TEST(InverseTime, FollowsItsFormula) {
  for (const double k : {0.0, 0.5, 3.0}) {
    for (const double period : {0.1, 1.0, 12.5}) {
      for (double t = 0; t < 100; t += 0.75) {
        EXPECT_DOUBLE_EQ(inverse_time(k, period)(t), 1 / (1 + k * t / period));
      }
    }
  }
  EXPECT_EQ(inverse_time(0, 1e-300)(1e15), 1);
  EXPECT_EQ(inverse_time(0, 1e-300, true)(1e15), 1);
}

TEST(InverseSqrt, GoesOnWhereTheWarmupEnds) {
  const Schedule schedule = warmup(4000).then(inverse_sqrt(4000));
  EXPECT_EQ(schedule(4000), 1);
  for (const double t : {4000.0, 4001.0, 16000.0, 1e6, 1e15}) {
    EXPECT_DOUBLE_EQ(schedule(t), std::sqrt(4000 / t));
  }
}

TEST(Noam, IsTheTransformersRate) {
  const Schedule schedule = noam(4000, 512, 2);
  for (const double t : {0.0, 1.0, 99.0, 3998.0, 3999.0, 4000.0, 1e6}) {
    const double step = t + 1;
    const double expected =
        2 * std::pow(512, -0.5) *
        std::min(std::pow(step, -0.5), step * std::pow(4000, -1.5));
    EXPECT_NEAR(schedule(t) / expected, 1, 1e-14) << t;
  }
  // The peak, by hand: 1/sqrt(512 * 4000) = 1/1431.0835...
  EXPECT_NEAR(noam(4000, 512)(3999), 6.987712429686843e-4, 1e-18);
}

TEST(Piecewise, PassesThroughItsPointsAndHoldsBeyond) {
  const std::vector<SchedulePoint> points = {
      {2, 0.1}, {3, 1}, {10, 0.3}, {1e15, 0}};
  for (const Interpolation kind :
       {Interpolation::kLinear, Interpolation::kCosine}) {
    const Schedule schedule = piecewise(points, kind);
    for (const SchedulePoint& point : points) {
      EXPECT_EQ(schedule(point.t), point.factor);
    }
    EXPECT_EQ(schedule(0), 0.1);
    EXPECT_EQ(schedule(1e16), 0);
    EXPECT_EQ(schedule.length(), 1e15);
  }
}

TEST(Piecewise, InterpolatesBetweenItsPoints) {
  const std::vector<SchedulePoint> points = {{2, 0.1}, {6, 1.3}};
  const Schedule line = piecewise(points);
  const Schedule wave = piecewise(points, Interpolation::kCosine);
  for (double t = 2; t <= 6; t += 0.125) {
    const double x = (t - 2) / 4;
    EXPECT_NEAR(line(t), 0.1 + 1.2 * x, 1e-15);
    EXPECT_NEAR(wave(t), 0.1 + 1.2 * (1 - std::cos(kPi * x)) / 2, 1e-15);
  }
}

TEST(Callable, IsItsFunctionUpToItsLength) {
  const Schedule schedule = callable([](double t) { return t * t; }, 5);
  EXPECT_EQ(schedule(3), 9);
  EXPECT_EQ(schedule(7), 25);
  EXPECT_EQ(schedule.length(), 5);
}

TEST(Callable, RefusesAnUnusableFactorAndSaysWhere) {
  for (const double bad : {-0.5, kNan, kInf}) {
    const Schedule schedule =
        callable([bad](double t) { return t < 3 ? 1 : bad; });
    EXPECT_EQ(schedule(2), 1);
    try {
      schedule(17);
      ADD_FAILURE() << bad << " was let through";
    } catch (const std::domain_error& error) {
      EXPECT_NE(std::string(error.what()).find("17"), std::string::npos);
    }
  }
}

TEST(Decay, RefusesBadArguments) {
  const auto one = [](double) { return 1.0; };
  const testing::Refusal refusals[] = {
      {[] { step_decay(0); }, {"step_decay", "period", "> 0", "got 0"}},
      {[] { step_decay(-3); }, {"step_decay", "period", "> 0", "-3"}},
      {[] { step_decay(kInf); }, {"step_decay", "period", "finite", "inf"}},
      {[] { step_decay(1, -0.1); }, {"step_decay", "gamma", ">= 0", "-0.1"}},
      {[] { step_decay(1, kNan); }, {"step_decay", "gamma", "nan"}},
      {[] { multi_step({}); }, {"multi_step", "at least one"}},
      {[] { multi_step({-1}); }, {"multi_step", "milestone", "-1"}},
      {[] {
         multi_step({5, 4});
       },
       {"multi_step", "5", "got 4"}},
      {[] {
         multi_step({1, kNan});
       },
       {"multi_step", "milestone", "nan"}},
      {[] { multi_step({1}, -2); }, {"multi_step", "gamma", "-2"}},
      {[] { exponential(0); }, {"exponential", "gamma", "> 0", "got 0"}},
      {[] { exponential(kInf); }, {"exponential", "gamma", "inf"}},
      {[] { inverse_time(-1); }, {"inverse_time", "k", ">= 0", "-1"}},
      {[] { inverse_time(1, 0); }, {"inverse_time", "period", "> 0", "0"}},
      {[] { inverse_sqrt(0); }, {"inverse_sqrt", "timescale", "> 0", "0"}},
      {[] { noam(0, 512); }, {"noam", "warmup_steps", "> 0", "got 0"}},
      {[] { noam(9, kNan); }, {"noam", "model_size", "nan"}},
      {[] { noam(9, 512, -1); }, {"noam", "scale", "> 0", "-1"}},
      {[] { piecewise({}); }, {"piecewise", "at least one"}},
      {[] {
         piecewise({{-1, 1}});
       },
       {"piecewise", "t", ">= 0", "-1"}},
      {[] {
         piecewise({{0, -1}});
       },
       {"piecewise", "factor", ">= 0", "-1"}},
      {[] {
         piecewise({{0, kInf}});
       },
       {"piecewise", "factor", "inf"}},
      {[] {
         piecewise({{3, 1}, {3, 2}});
       },
       {"piecewise", "increase", "3"}},
      {[] { callable(nullptr); }, {"callable", "function", "empty"}},
      {[one] { callable(one, -1); }, {"callable", "length", ">= 0", "-1"}},
      {[one] { callable(one, kNan); }, {"callable", "length", "nan"}}};
  for (const testing::Refusal& refusal : refusals) {
    EXPECT_TRUE(is_refused(refusal));
  }
}

}  // namespace
}  // namespace stepsize
