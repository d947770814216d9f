// What docs/schedules.md says of combinators and of lint, on random schedules.

#include <stepsize/schedule/lint.h>
#include <stepsize/schedule/parse.h>

#include "tests/schedule/random_schedules.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace stepsize {
namespace {

using testing::RandomSchedules;
using testing::Times;

constexpr double kInf = std::numeric_limits<double>::infinity();

// Nothing where growth has gone beyond the range of a double.
std::optional<double> factor(const Schedule& schedule, double t) {
  try {
    return schedule(t);
  } catch (const std::domain_error&) {
    return std::nullopt;
  }
}

// Eighths within the schedules and past their ends, the ends among them.
std::vector<double> times_around(
    RandomSchedules& random, const std::vector<Schedule>& schedules) {
  std::vector<double> times = {0, 0.125, 1, 123456.125, 1e15};
  for (const Schedule& schedule : schedules) {
    const double length = schedule.length();
    const double horizon = length < kInf ? length : 2000;
    for (int i = 0; i < 12; ++i) {
      times.push_back(std::floor(16 * horizon * random.uniform()) / 8);
    }
    if (length < kInf) {
      for (const double t : {length - 0.125, length, length + 0.125}) {
        times.push_back(std::max(0.0, t));
      }
    }
  }
  return times;
}

template <typename Expected>
void expect_pointwise(
    RandomSchedules& random,
    const Schedule& whole,
    const std::vector<Schedule>& parts,
    const Expected& expected) {
  std::vector<Schedule> all = parts;
  all.push_back(whole);
  for (const double t : times_around(random, all)) {
    const std::optional<double> wanted = expected(std::min(t, whole.length()));
    if (!wanted) {
      continue;  // a part is beyond the range of a double there
    }
    const std::optional<double> found = factor(whole, t);
    if (!(*wanted <= std::numeric_limits<double>::max())) {
      ASSERT_FALSE(found) << whole.to_string() << " at " << t;
    } else {
      ASSERT_TRUE(found) << whole.to_string() << " at " << t;
      ASSERT_EQ(*found, *wanted) << whole.to_string() << " at " << t;
    }
  }
}

std::optional<double> product_of(
    std::optional<double> a, std::optional<double> b) {
  return a && b ? std::optional<double>(*a * *b) : std::nullopt;
}

TEST(RandomSchedule, ProductIsPointwiseToTheBit) {
  for (const Times times : {Times::kExact, Times::kWild}) {
    RandomSchedules random(1, times);
    for (int i = 0; i < 4000; ++i) {
      const Schedule a = random.any(i % 4);
      const Schedule b = random.any(i / 4 % 4);
      expect_pointwise(random, a * b, {a, b}, [&](double t) {
        return product_of(factor(a, t), factor(b, t));
      });
    }
  }
}

TEST(RandomSchedule, ThenIsTheOneAndThenTheOther) {
  RandomSchedules random(2, Times::kExact);
  for (int i = 0; i < 4000; ++i) {
    const Schedule a = random.finite(i % 4);
    const Schedule b = random.any(i / 4 % 4);
    const double end = a.length();
    expect_pointwise(random, a.then(b), {a, b}, [&](double t) {
      return t < end ? factor(a, t) : factor(b, t - end);
    });
  }
}

TEST(RandomSchedule, ClampIsPointwise) {
  RandomSchedules random(3, Times::kWild);
  for (int i = 0; i < 4000; ++i) {
    const Schedule a = random.any(i % 4);
    const double low = random.factor();
    const double high = std::max(low, random.factor());
    expect_pointwise(
        random,
        a.clamp(low, high),
        {a},
        [&](double t) -> std::optional<double> {
          const auto inner = factor(a, t);
          return inner ? std::optional<double>(std::clamp(*inner, low, high))
                       : std::nullopt;
        });
  }
}

TEST(RandomSchedule, LimitIsTheCurveUpToATime) {
  RandomSchedules random(4, Times::kWild);
  for (int i = 0; i < 4000; ++i) {
    const Schedule a = random.any(i % 4);
    const double length = random.time();
    expect_pointwise(random, a.limit(length), {a}, [&](double t) {
      return factor(a, std::min(t, length));
    });
  }
}

TEST(RandomSchedule, ShiftIsTheCurveAtAnotherTime) {
  RandomSchedules random(5, Times::kExact);
  for (int i = 0; i < 4000; ++i) {
    const Schedule a = i % 2 == 0 ? random.any(i % 4) : random.finite(i % 4);
    const double delay =
        i % 2 == 0 ? random.time() : -random.part_of(a.length());
    expect_pointwise(random, a.shift(delay), {a}, [&](double t) {
      return factor(a, std::max(0.0, t - delay));
    });
  }
}

TEST(RandomSchedule, StretchToIsTheCurveAtAScaledTime) {
  RandomSchedules random(6, Times::kExact);
  for (int i = 0; i < 4000; ++i) {
    const Schedule a = random.finite(i % 4);
    const int exponent = static_cast<int>(random.below(7)) - 3;
    expect_pointwise(
        random,
        a.stretch_to(std::ldexp(a.length(), exponent)),
        {a},
        [&](double t) { return factor(a, std::ldexp(t, -exponent)); });
  }
}

TEST(RandomSchedule, StairsHoldWhatEachPeriodBeginsWith) {
  RandomSchedules random(16, Times::kExact);
  for (int i = 0; i < 4000; ++i) {
    const Schedule a = random.any(i % 4);
    const double period = random.time();
    expect_pointwise(random, a.stairs(period), {a}, [&](double t) {
      // Times and periods are eighths: the quotient is exact enough.
      return factor(a, std::floor(t / period) * period);
    });
  }
}

TEST(RandomSchedule, RepeatIsTheCurveAgainLongerAndLower) {
  RandomSchedules random(7, Times::kExact);
  for (int i = 0; i < 4000; ++i) {
    const Schedule a = random.finite(i % 3);
    const auto count = static_cast<int64_t>(1 + random.below(6));
    const int doubling = static_cast<int>(random.below(2));
    const auto repeated = a.repeat(count, 1 + doubling, 0.5);
    expect_pointwise(
        random, repeated, {a}, [&](double t) -> std::optional<double> {
          int cycle = 0;
          double start = 0;
          double length = a.length();
          while (cycle + 1 < count && t >= start + length) {
            start += length;
            length = std::ldexp(length, doubling);
            ++cycle;
          }
          return product_of(
              factor(a, std::ldexp(t - start, -cycle * doubling)),
              std::ldexp(1.0, -cycle));
        });
  }
}

TEST(RandomSchedule, HoldsTheFactorAtItsEnd) {
  RandomSchedules random(8, Times::kWild);
  for (int i = 0; i < 4000; ++i) {
    const Schedule a = random.finite(i % 5);
    for (const double more : {0.3, 17.0, 1e9, 1e300}) {
      ASSERT_EQ(factor(a, a.length() + more), factor(a, a.length()))
          << a.to_string();
    }
  }
}

TEST(RandomSchedule, RefusesNoTimeAndGivesNoFactorBelowZero) {
  RandomSchedules random(9, Times::kWild);
  for (int i = 0; i < 20000; ++i) {
    const Schedule a = random.any(i % 6);
    for (const double t : {0.0, 5e-324, 1e-300, 0.3, 17.0, 1e9, 1e300}) {
      ASSERT_GE(factor(a, t).value_or(0), 0) << a.to_string() << " at " << t;
    }
  }
}

TEST(RandomSchedule, HasAnAnswerOfLintForEveryRun) {
  for (const Times times : {Times::kExact, Times::kWild}) {
    RandomSchedules random(10, times);
    for (int i = 0; i < 10000; ++i) {
      const Schedule a = random.any(i % 6);
      const double ordinary = std::ceil(200 * random.uniform()) + 1;
      const double odd[] = {5e-324, 0.5, 1e15, 1e300, random.time()};
      for (const double run : {ordinary, odd[i % 5]}) {
        std::vector<LintWarning> found;
        ASSERT_NO_THROW(found = lint(a, run))
            << a.to_string() << " for " << run;
        double last = 0;
        for (const LintWarning& warning : found) {
          ASSERT_GE(warning.at, last) << a.to_string() << " for " << run;
          ASSERT_LE(warning.at, run) << a.to_string() << " for " << run;
          ASSERT_EQ(warning.message.find("nan"), std::string::npos)
              << a.to_string() << ": " << warning.message;
          last = warning.at;
        }
      }
    }
  }
}

}  // namespace
}  // namespace stepsize
