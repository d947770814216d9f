#include <stepsize/schedule/cycle.h>

#include <stepsize/schedule/ramp.h>

#include "tests/schedule/refusal.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace stepsize {
namespace {

using Restarts = CosineRestartsOptions;
using Triangular = TriangularOptions;

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
const double kPi = std::acos(-1.0);
constexpr std::uint64_t kLatest = 1000000000000000;  // 1e15

double half_cosine(double share) { return (1 + std::cos(kPi * share)) / 2; }

double as_double(std::uint64_t t) { return static_cast<double>(t); }

TEST(CosineRestarts, AreExactAtEveryWholeBoundary) {
  int restarts = 0;
  for (const std::uint64_t first : {1, 2, 3, 5, 7, 10, 50, 999, 100000}) {
    for (const std::uint64_t stretch :
         {2, 3, 4, 5, 6, 7, 9, 10, 13, 100, 999}) {
      const Schedule schedule =
          cosine_restarts(as_double(first), Restarts().stretch(stretch));
      std::uint64_t start = 0;
      std::uint64_t length = first;
      while (start + length < kLatest) {
        const std::uint64_t ended = length;
        start += length;
        length *= stretch;
        ++restarts;
        ASSERT_EQ(schedule(as_double(start)), 1)
            << first << " x" << stretch << " at " << start;
        // One step before and one after tell where the cycle begins as well.
        ASSERT_NEAR(
            schedule(as_double(start - 1)),
            half_cosine(as_double(ended - 1) / as_double(ended)),
            1e-14)
            << first << " x" << stretch << " before " << start;
        ASSERT_NEAR(
            schedule(as_double(start + 1)),
            half_cosine(1 / as_double(length)),
            1e-14)
            << first << " x" << stretch << " after " << start;
        ASSERT_LT(schedule(std::nextafter(as_double(start), 0.0)), 1e-2);
      }
    }
  }
  EXPECT_GT(restarts, 1000);
}

TEST(CosineRestarts, DoNotRoundALogarithmDown) {
  // log(243)/log(3) is 4.999... in doubles, so that a cycle number from a
  // floored logarithm is one too small here.
  EXPECT_EQ(cosine_restarts(1, Restarts().stretch(3))(121), 1);
  EXPECT_NEAR(
      cosine_restarts(1, Restarts().stretch(3))(120),
      half_cosine(80.0 / 81),
      1e-15);
}

TEST(CosineRestarts, OfEqualLengthAreExactFarOut) {
  for (const std::uint64_t first : {1, 3, 7, 1000, 1234567}) {
    const Schedule schedule = cosine_restarts(as_double(first));
    for (std::uint64_t t = kLatest - 3000; t < kLatest; ++t) {
      ASSERT_NEAR(
          schedule(as_double(t)),
          half_cosine(as_double(t % first) / as_double(first)),
          1e-15)
          << t;
    }
  }
}

TEST(CosineRestarts, OfFractionalLengthFollowTheFormula) {
  for (const double first : {0.1, 1.0, 12.34, 1e4 / 3}) {
    for (const double stretch : {1.001, 1.3, 1.5, 2.0, 2.5, 3.0}) {
      const Schedule schedule =
          cosine_restarts(first, Restarts().stretch(stretch));
      long double start = 0;
      long double length = first;
      for (int cycle = 0; cycle < 60; ++cycle) {
        for (const double share : {1e-6, 0.25, 0.5, 0.75, 1 - 1e-6}) {
          const auto t = static_cast<double>(start + share * length);
          ASSERT_NEAR(schedule(t), half_cosine(share), 1e-9)
              << first << " x" << stretch << ", cycle " << cycle;
        }
        start += length;
        length *= stretch;
      }
    }
  }
}

TEST(CosineRestarts, LowerTheirPeaksToTheFloorAndEnd) {
  const Schedule schedule = cosine_restarts(
      10, Restarts().stretch(2).peak_decay(0.5).cycles(4).floor(0.2));
  EXPECT_EQ(schedule.length(), 150);
  const double starts[] = {0, 10, 30, 70};
  const double peaks[] = {1, 0.5, 0.25, 0.2};
  for (int i = 0; i < 4; ++i) {
    const double length = 10 * std::ldexp(1, i);
    for (const double share : {0.0, 0.25, 0.5, 0.99}) {
      EXPECT_NEAR(
          schedule(starts[i] + share * length),
          0.2 + (peaks[i] - 0.2) * half_cosine(share),
          1e-15);
    }
  }
  for (const double t : {150.0, 151.0, 1e15, kInf}) {
    EXPECT_EQ(schedule(t), 0.2);
  }
}

TEST(CosineRestarts, LowerTheHeightAboveTheFloor) {
  const Schedule schedule =
      cosine_restarts(10, Restarts().height_decay(0.5).cycles(4).floor(0.2));
  for (int i = 0; i < 4; ++i) {
    EXPECT_NEAR(schedule(10 * i), 0.2 + 0.8 * std::ldexp(1, -i), 1e-15);
    EXPECT_NEAR(schedule(10 * i + 5), 0.2 + 0.4 * std::ldexp(1, -i), 1e-15);
  }
  EXPECT_EQ(schedule(40), 0.2);
}

TEST(Cycle, DecaysOfPeakAndHeightAreOneWhereNothingStandsBelow) {
  EXPECT_EQ(
      cosine_restarts(10, Restarts().height_decay(0.5)),
      cosine_restarts(10, Restarts().peak_decay(0.5)));
  EXPECT_EQ(
      rex(10).repeat(RepeatOptions().height_decay(0.5)),
      rex(10).repeat(Schedule::kForever, 1, 0.5));
  EXPECT_EQ(rex(10).repeat(RepeatOptions().floor(0.5)), rex(10).repeat());
}

TEST(Repeat, KeepsTheFloorToTheBit) {
  const Schedule fall = warmup(3, WarmupShape::kLinear, 0).then(rex(7, 0.1));
  for (const bool of_height : {false, true}) {
    RepeatOptions options;
    options.count(6).floor(0.1);
    const Schedule schedule = fall.repeat(
        of_height ? options.height_decay(0.5) : options.peak_decay(0.5));
    for (int i = 0; i < 6; ++i) {
      // What begins below the floor comes up to it as what is above falls.
      const double peak = of_height ? 0.1 + 0.9 * std::ldexp(1, -i)
                                    : std::max(0.1, std::ldexp(1, -i));
      const double left = (peak - 0.1) / 0.9;
      EXPECT_NEAR(schedule(10 * i), 0.1 * (1 - left), 1e-15) << i;
      EXPECT_NEAR(schedule(10 * i + 3), peak, 1e-15) << i;
      EXPECT_NEAR(schedule(10 * i + 10 - 1e-12), 0.1, 1e-11) << i;
    }
    EXPECT_EQ(schedule(60), 0.1);
    EXPECT_EQ(schedule(5), fall(5));
  }
  // All that there is above a floor of 1 is gone with the first time.
  const Schedule ones =
      linear(4, 1, 0).repeat(RepeatOptions().peak_decay(0.5).floor(1));
  EXPECT_EQ(ones(2), 0.5);
  EXPECT_EQ(ones(6), 1);
}

TEST(PolynomialCycles, ReachTheFloorAtEveryMultiple) {
  for (const double length : {7.0, 0.1, 1.0 / 3, 1e10}) {
    const Schedule schedule = polynomial_cycles(length, 2, 0.25);
    EXPECT_EQ(schedule(0), 1);
    for (int k = 1; k < 40; ++k) {
      const double t = k * length;
      if (std::fmod(t, length) == 0) {
        EXPECT_EQ(schedule(t), 0.25) << length << ' ' << k;
      }
      const double half = schedule((k + 0.5) * length);
      const double left = 0.5 / (k + 1);
      EXPECT_NEAR(half, 0.25 + 0.75 * left * left, 1e-12);
    }
  }
  // A whole length keeps its multiples up to 2^53.
  const Schedule schedule = polynomial_cycles(7);
  const double late = 7 * std::floor(0x1p53 / 7);
  EXPECT_EQ(schedule(late), 0);
  EXPECT_GT(schedule(late - 1), 0);
  EXPECT_LE(schedule(1e308), 1);
}

TEST(CosineRestarts, AnswerAtTimesOfAnySize) {
  for (const double first : {1e-10, 1.0, 1e10}) {
    for (const double stretch : {1.0, 1 + 1e-15, 1.0001, 1.7, 2.0, 1e10}) {
      const Schedule schedule =
          cosine_restarts(first, Restarts().stretch(stretch));
      for (const double t : {1e15, 1e17, 1e200, 1e308}) {
        const double factor = schedule(t);
        EXPECT_TRUE(factor >= 0 && factor <= 1) << factor;
      }
    }
  }
}

// Smith's own lines: cycle = floor(1 + x/(2 up)), r = abs(x/up - 2 cycle + 1).
double triangle(double t, double up) {
  const double cycle = std::floor(1 + t / (2 * up));
  return std::max(0.0, 1 - std::abs(t / up - 2 * cycle + 1));
}

TEST(Triangular, FollowThePaper) {
  for (const double up : {1.0, 4.0, 7.0, 500.0}) {
    const Schedule plain = triangular(up);
    const Schedule halved = triangular2(up, Triangular().floor(0.1));
    const Schedule ranged = exp_range(up, 0.999, Triangular().floor(0));
    for (double t = 0; t < 10 * up; t += up / 8) {
      const double height = triangle(t, up);
      const double cycle = std::floor(t / (2 * up));
      EXPECT_NEAR(plain(t), 0.25 + 0.75 * height, 1e-14) << t;
      EXPECT_NEAR(halved(t), 0.1 + 0.9 * height * std::exp2(-cycle), 1e-14);
      EXPECT_NEAR(ranged(t), height * std::pow(0.999, t), 1e-13);
    }
  }
}

TEST(Triangular, AreExactAtLargeWholeTimes) {
  const Schedule schedule = triangular(7, Triangular().down(4).floor(0));
  for (std::uint64_t t = kLatest - 100; t <= kLatest; ++t) {
    const std::uint64_t offset = t % 11;
    const double expected =
        offset <= 7 ? as_double(offset) / 7 : as_double(11 - offset) / 4;
    EXPECT_DOUBLE_EQ(schedule(as_double(t)), expected) << t;
  }
}

TEST(Triangular, StayWithinTheirBounds) {
  for (const double up : {0.1, 0.3, 0.7, 1.1, 1.0 / 3, 1e-17, 5.0}) {
    for (const double down : {0.2, 0.7, 1.3, 1.0 / 7, 1e-17, 5.0}) {
      const Schedule schedule =
          triangular(up, Triangular().down(down).floor(0));
      for (int k = 1; k < 200; ++k) {
        const double foot = k * (up + down);
        const double top = foot + up;
        for (const double t :
             {foot, std::nextafter(foot, 0.0), top, std::nextafter(top, 0.0)}) {
          EXPECT_GE(schedule(t), 0) << up << ' ' << down;
          EXPECT_LE(schedule(t), 1) << up << ' ' << down;
        }
      }
    }
  }
}

TEST(Cycle, RefusesBadArguments) {
  const testing::Refusal refusals[] = {
      {[] { cosine_restarts(0); }, {"cosine_restarts", "first_cycle", "0"}},
      {[] { cosine_restarts(kInf); }, {"cosine_restarts", "finite", "inf"}},
      {[] { Restarts().stretch(0.9); }, {"cosine_restarts", ">= 1", "0.9"}},
      {[] { Restarts().stretch(kNan); }, {"stretch", "nan"}},
      {[] { Restarts().stretch(kInf); }, {"stretch", "finite", "inf"}},
      {[] { Restarts().peak_decay(0); }, {"peak_decay", "(0, 1]", "0"}},
      {[] { Restarts().peak_decay(1.1); }, {"peak_decay", "(0, 1]", "1.1"}},
      {[] { Restarts().height_decay(0); }, {"height_decay", "(0, 1]", "0"}},
      {[] { RepeatOptions().count(0); }, {"repeat", "count", ">= 1", "0"}},
      {[] { RepeatOptions().stretch(0.5); }, {"repeat", "stretch", "0.5"}},
      {[] { RepeatOptions().peak_decay(2); }, {"repeat", "(0, 1]", "2"}},
      {[] { RepeatOptions().height_decay(0); }, {"height_decay", "(0, 1]"}},
      {[] { RepeatOptions().floor(1.5); }, {"repeat", "[0, 1]", "1.5"}},
      {[] { polynomial_cycles(0); }, {"polynomial_cycles", "length", "0"}},
      {[] { polynomial_cycles(9, 0); }, {"polynomial_cycles", "power", "0"}},
      {[] { polynomial_cycles(9, 1, 2); }, {"floor", "[0, 1]", "2"}},
      {[] { Restarts().cycles(0); }, {"cycles", ">= 1", "got 0"}},
      {[] { Restarts().cycles(-2); }, {"cycles", ">= 1", "-2"}},
      {[] { Restarts().floor(-0.1); }, {"floor", "[0, 1]", "-0.1"}},
      {[] { triangular(0); }, {"triangular", "up", "> 0", "got 0"}},
      {[] { triangular2(-1); }, {"triangular2", "up", "> 0", "-1"}},
      {[] { exp_range(kNan, 0.9); }, {"exp_range", "up", "nan"}},
      {[] { exp_range(9, 0); }, {"exp_range", "gamma", "(0, 1]", "0"}},
      {[] { exp_range(9, 1.1); }, {"exp_range", "gamma", "(0, 1]", "1.1"}},
      {[] { Triangular().down(0); }, {"triangular", "down", "> 0", "0"}},
      {[] { Triangular().down(kInf); }, {"down", "finite", "inf"}},
      {[] { Triangular().floor(1.1); }, {"floor", "[0, 1]", "1.1"}}};
  for (const testing::Refusal& refusal : refusals) {
    EXPECT_TRUE(testing::is_refused(refusal));
  }
}

}  // namespace
}  // namespace stepsize
