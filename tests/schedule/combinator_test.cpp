#include <stepsize/schedule/cycle.h>
#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/ramp.h>
#include <stepsize/schedule/schedule.h>

#include "tests/schedule/refusal.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace stepsize {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

// 1 to 8, and 8 held: every inner step has its own factor.
Schedule ladder() { return multi_step({1, 2, 3}, 2).limit(4); }

TEST(Then, PlaysOneAfterTheOther) {
  const Schedule schedule =
      linear(10, 0.5, 1).then(cosine(20, 0.1)).then(inverse_sqrt(5));
  EXPECT_EQ(schedule.length(), kInf);
  for (double t = 0; t < 60; t += 0.25) {
    const double expected = t < 10   ? linear(10, 0.5, 1)(t)
                            : t < 30 ? cosine(20, 0.1)(t - 10)
                                     : inverse_sqrt(5)(t - 30);
    EXPECT_EQ(schedule(t), expected) << t;
  }
}

TEST(Then, StartsTheNextExactlyAtTheJoin) {
  const Schedule schedule = constant(1).limit(1e15 - 1).then(constant(2));
  EXPECT_EQ(schedule(1e15 - 2), 1);
  EXPECT_EQ(schedule(1e15 - 1), 2);
}

TEST(Then, PassesOverPartsOfNoLength) {
  const Schedule schedule = warmup(0).then(linear(0, 3, 3)).then(linear(10));
  EXPECT_EQ(schedule(0), 1);
  EXPECT_EQ(schedule(5), 0.5);
  EXPECT_EQ(linear(10).then(warmup(0))(10), 1);
}

TEST(Then, ReachesTheEndOfItsLastPartWhateverTheLengths) {
  // In doubles (a + b) - a is often less than b.
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> some(0.01, 100);
  int short_by_rounding = 0;
  for (int i = 0; i < 10000; ++i) {
    const double a = some(random);
    const double b = some(random);
    short_by_rounding += (a + b) - a < b ? 1 : 0;
    const Schedule schedule = constant().limit(a).then(multi_step({b}, 0.5));
    ASSERT_EQ(schedule(1e3), 0.5) << a << " + " << b;
    ASSERT_EQ(multi_step({b}, 0.5).shift(a)(1e3), 0.5) << a << " + " << b;
  }
  EXPECT_GT(short_by_rounding, 1000);
}

TEST(Times, IsThePointwiseProduct) {
  const Schedule a = warmup(10).then(cosine(30));
  const Schedule b = exponential(0.9);
  const Schedule c = constant(0.5);
  for (double t = 0; t < 60; t += 0.5) {
    EXPECT_NEAR((a * b * c)(t), a(t) * b(t) * 0.5, 1e-16);
    EXPECT_EQ((a * b)(t), a.times(b)(t));
  }
  EXPECT_EQ((a * c).length(), 40);
  EXPECT_EQ((a * linear(70)).length(), 70);
  EXPECT_EQ((a * b).length(), kInf);
  EXPECT_EQ((c * c).length(), kInf);
  EXPECT_EQ((a * noise(0.05)).length(), 40);
  EXPECT_EQ((c * noise(0.05)).length(), kInf);
}

TEST(Times, HoldsWhatItsFactorsHold) {
  const Schedule ended = linear(100, 1, 0.5) * noise(0.1);
  const Schedule endless = inverse_sqrt(50);
  const double held = 0.5 * noise(0.1)(100);
  EXPECT_EQ(ended(200), held);
  EXPECT_EQ((ended * endless)(200), held * endless(200));
  EXPECT_EQ((endless * ended)(200), endless(200) * held);
  // Beside a factor without an end, noise has none.
  EXPECT_EQ(
      (linear(100, 1, 0.5) * endless * noise(0.1))(200),
      0.5 * endless(200) * noise(0.1)(200));
  // A product of noise alone has as little part in the end as noise.
  EXPECT_EQ((linear(40) * (constant(2) * noise(0.1))).length(), 40);
  // The longest so far decides.
  EXPECT_EQ(
      (noise(0.1) * linear(10, 1, 1) * linear(20, 1, 1))(15), noise(0.1)(10));
}

TEST(Times, TakesMoreFactorsThanCombinatorsMayBeDeep) {
  Schedule product = constant(1);
  for (int i = 0; i < 200; ++i) {
    product = product * constant(2);
  }
  EXPECT_EQ(product(7), 0x1p200);
}

TEST(Clamp, KeepsTheFactorWithinBounds) {
  const Schedule schedule = linear(10).clamp(0.25, 0.75);
  for (double t = 0; t <= 12; t += 0.25) {
    EXPECT_EQ(schedule(t), std::min(0.75, std::max(0.25, linear(10)(t)))) << t;
  }
  EXPECT_EQ(schedule.length(), 10);
  EXPECT_EQ(linear(10, 3, 5).clamp(4, kInf)(0), 4);
  EXPECT_EQ(linear(10, 3, 5).clamp(2, 2)(7), 2);
}

TEST(Repeat, IsExactAtEveryStepOfEveryWholeCycle) {
  for (const std::uint64_t stretch : {1, 2, 3, 7, 10, 1000}) {
    const Schedule schedule =
        ladder().repeat(Schedule::kForever, static_cast<double>(stretch), 1);
    std::uint64_t start = 0;
    std::uint64_t scale = 1;
    for (int cycle = 0; cycle < 1000 && start + 4 * scale < 1000000000000000;
         ++cycle) {
      for (std::uint64_t step = 0; step < 4; ++step) {
        const auto t = static_cast<double>(start + step * scale);
        ASSERT_EQ(schedule(t), std::ldexp(1, static_cast<int>(step)))
            << "x" << stretch << " at " << t;
        if (scale > 1) {
          ASSERT_EQ(
              schedule(t + static_cast<double>(scale - 1)),
              std::ldexp(1, static_cast<int>(step)));
        }
      }
      start += 4 * scale;
      scale *= stretch;
    }
  }
}

TEST(Repeat, LowersEachTimeAndEnds) {
  const Schedule schedule = linear(10).repeat(3, 2, 0.5);
  EXPECT_EQ(schedule.length(), 70);
  EXPECT_EQ(schedule(10), 0.5);
  EXPECT_EQ(schedule(20), 0.25);
  EXPECT_EQ(schedule(30), 0.25);
  EXPECT_EQ(schedule(50), 0.125);
  EXPECT_EQ(schedule(70), 0);
  const Schedule rising = linear(10, 0, 1).repeat(3, 2, 0.5);
  EXPECT_EQ(rising(70), 0.25);
  EXPECT_EQ(rising(1e15), 0.25);
  EXPECT_EQ(linear(10).repeat().length(), kInf);
  EXPECT_EQ(linear(10).repeat()(1e15 + 5), 0.5);
}

TEST(Stairs, AreTheCurveSetOnceAnEpoch) {
  // timm's cosine of 10 epochs, 50 updates each.
  const Schedule schedule = cosine(500).stairs(50);
  EXPECT_EQ(schedule.length(), 500);
  const double pi = std::acos(-1.0);
  for (int t = 0; t < 500; ++t) {
    const int epoch = t / 50;
    EXPECT_NEAR(schedule(t), (1 + std::cos(pi * epoch / 10)) / 2, 1e-15) << t;
  }
  EXPECT_EQ(schedule(500), 0);
}

TEST(Stairs, EndAtTheFirstStairThatIsNotBeforeTheCurves) {
  const Schedule schedule = linear(10).stairs(4);
  EXPECT_EQ(schedule.length(), 12);
  EXPECT_EQ(schedule(3.999), 1);
  EXPECT_EQ(schedule(4), 0.6);
  EXPECT_EQ(schedule(11.5), linear(10)(8));
  EXPECT_EQ(schedule(12), 0);
  EXPECT_EQ(exponential(0.5).stairs(2).length(), kInf);
  EXPECT_EQ(constant(3).stairs(2)(1e15), 3);
}

TEST(Stairs, StandAtTheVeryMultipleOfThePeriod) {
  // 0.1 and its multiples are rounded: the quotient alone says 2.999...
  const Schedule base = linear(1, 0, 1);
  const Schedule schedule = base.stairs(0.1);
  for (int k = 0; k < 10; ++k) EXPECT_EQ(schedule(k * 0.1), base(k * 0.1)) << k;
  // Finer than a time can be told: the curve itself.
  EXPECT_EQ(linear(9).stairs(5e-324)(3), linear(9)(3));
}

TEST(StretchTo, IsTheSameCurveOverAnotherLength) {
  const Schedule base = warmup(30).then(cosine(70, 0.1));
  const Schedule schedule = base.stretch_to(1000);
  EXPECT_EQ(schedule.length(), 1000);
  for (double t = 0; t <= 1000; ++t) {
    EXPECT_NEAR(schedule(t), base(t / 10), 1e-14);
  }
  EXPECT_EQ(schedule(1e15), 0.1);
}

TEST(StretchTo, IsExactAtWholeTimesUpToLargeOnes) {
  for (const double unit : {1000.0, 999999999.0, 333333333333333.0}) {
    const Schedule schedule = multi_step({1, 2, 3}, 2).stretch_to(3 * unit);
    EXPECT_EQ(schedule(unit - 1), 1) << unit;
    EXPECT_EQ(schedule(unit), 2) << unit;
    EXPECT_EQ(schedule(2 * unit - 1), 2) << unit;
    EXPECT_EQ(schedule(2 * unit), 4) << unit;
    EXPECT_EQ(schedule(3 * unit), 8) << unit;
  }
  EXPECT_EQ(linear(1e300).stretch_to(1e301)(5e300), 0.5);
}

TEST(Shift, MovesTheCurveLaterOrEarlier) {
  const Schedule base = linear(10);
  EXPECT_EQ(base.shift(5)(3), 1);
  EXPECT_EQ(base.shift(5)(10), 0.5);
  EXPECT_EQ(base.shift(5).length(), 15);
  EXPECT_EQ(base.shift(-4)(0), 0.6);
  EXPECT_EQ(base.shift(-4).length(), 6);
  EXPECT_EQ(base.shift(-4)(1e15), 0);
  EXPECT_EQ(base.shift(-10)(0), 0);
  EXPECT_EQ(exponential(0.5).shift(-3)(0), 0.125);
}

TEST(Limit, HoldsTheValueAtItsEnd) {
  EXPECT_EQ(linear(10).limit(4)(1e15), 0.6);
  EXPECT_EQ(linear(10).limit(4).length(), 4);
  EXPECT_EQ(linear(10).limit(40)(25), 0);
  EXPECT_EQ(exponential(0.5).limit(0)(9), 1);
}

TEST(Combinators, RefuseBadArguments) {
  const Schedule base = linear(10);
  const testing::Refusal refusals[] = {
      {[] { constant().then(linear(1)); }, {"then", "no end", "limit"}},
      {[] { triangular(3).repeat(); }, {"repeat", "triangular", "no end"}},
      {[] { exponential(0.9).stretch_to(9); }, {"stretch_to", "no end"}},
      {[] { warmup(0).repeat(); }, {"repeat", "length", "> 0", "got 0"}},
      {[] { warmup(0).stretch_to(3); }, {"stretch_to", "> 0", "got 0"}},
      {[base] { base.repeat(0); }, {"repeat", "count", ">= 1", "got 0"}},
      {[base] { base.repeat(-2); }, {"repeat", "count", "-2"}},
      {[base] { base.repeat(2, 0.5); }, {"repeat", "stretch", "0.5"}},
      {[base] { base.repeat(2, kInf); }, {"repeat", "stretch", "inf"}},
      {[base] { base.repeat(2, 1, 0); }, {"repeat", "decay", "(0, 1]"}},
      {[base] { base.repeat(2, 1, kNan); }, {"repeat", "decay", "nan"}},
      {[base] { base.clamp(-1, 1); }, {"clamp", "low", ">= 0", "-1"}},
      {[base] { base.clamp(kNan, 1); }, {"clamp", "low", "nan"}},
      {[base] { base.clamp(0.5, 0.4); }, {"clamp", "high", "low", "0.4"}},
      {[base] { base.clamp(0, kNan); }, {"clamp", "high", "nan"}},
      {[base] { base.stretch_to(0); }, {"stretch_to", "> 0", "got 0"}},
      {[base] { base.stretch_to(kInf); }, {"stretch_to", "finite", "inf"}},
      {[base] { base.shift(-10.5); }, {"shift", "negative", "-10.5"}},
      {[base] { base.shift(kNan); }, {"shift", "finite", "nan"}},
      {[] { constant().shift(-kInf); }, {"shift", "finite", "-inf"}},
      {[base] { base.limit(-1); }, {"limit", "length", ">= 0", "-1"}},
      {[base] { base.limit(kInf); }, {"limit", "finite", "inf"}}};
  for (const testing::Refusal& refusal : refusals) {
    EXPECT_TRUE(testing::is_refused(refusal));
  }
}

}  // namespace
}  // namespace stepsize
