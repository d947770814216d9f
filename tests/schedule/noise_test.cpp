#include <stepsize/schedule/decay.h>

#include "tests/schedule/refusal.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

namespace stepsize {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();
const double kPi = std::acos(-1.0);
constexpr int kDraws = 200000;

struct Moments {
  double mean = 0;
  double variance = 0;
  double skewness = 0;
  double correlation = 0;  // of neighbours
  double largest = 0;
};

Moments moments_of(const Schedule& schedule) {
  Moments m;
  double previous = 0;
  for (int t = 0; t < kDraws; ++t) {
    const double z = schedule(t) - 1;
    m.mean += z / kDraws;
    m.variance += z * z / kDraws;
    m.skewness += z * z * z / kDraws;
    m.correlation += z * previous / kDraws;
    m.largest = std::max(m.largest, std::abs(z));
    previous = z;
  }
  m.skewness /= std::pow(m.variance, 1.5);
  m.correlation /= m.variance;
  return m;
}

// Of a normal of deviation s cut at -c and c, with a = c/s:
// s^2 (1 - 2 a phi(a)/(2 Phi(a) - 1)).
double truncated_variance(double s, double c) {
  const double a = c / s;
  if (a == 0) {
    return c * c / 3;  // uniform
  }
  const double density = std::exp(-a * a / 2) / std::sqrt(2 * kPi);
  return s * s * (1 - 2 * a * density / std::erf(a / std::sqrt(2.0)));
}

TEST(Noise, HasTheMomentsOfATruncatedNormal) {
  struct {
    double stddev;
    double limit;
  } const cases[] = {
      {0.05, 0.5},
      {0.1, 0.2},
      {0.5, 0.5},
      {1, 1},
      {0.3, 1},
      {1, 0.67},  // timm's default
      {0.6, 0.5},
      {2, 1},
      {100, 0.5},
      {kInf, 0.67}};
  for (const auto& c : cases) {
    for (const std::uint64_t seed : {std::uint64_t{0}, ~std::uint64_t{0}}) {
      const Moments m = moments_of(noise(c.stddev, seed, c.limit));
      const double variance = truncated_variance(c.stddev, c.limit);
      // Five deviations of each estimate; a cut normal has less kurtosis than
      // a whole one, whose numbers these are.
      const double unit = 5 / std::sqrt(static_cast<double>(kDraws));
      EXPECT_NEAR(m.mean, 0, unit * std::sqrt(variance)) << c.stddev;
      EXPECT_NEAR(m.variance / variance, 1, unit * std::sqrt(2.0)) << c.stddev;
      EXPECT_NEAR(m.skewness, 0, unit * std::sqrt(15.0)) << c.stddev;
      EXPECT_NEAR(m.correlation, 0, unit) << c.stddev;
      EXPECT_LE(m.largest, c.limit);
      // And the limit is where it is said to be: one draw in a hundred or
      // more comes near it, where the cut bites.
      if (c.limit <= 2 * c.stddev) {
        EXPECT_GT(m.largest, 0.99 * c.limit);
      }
    }
  }
}

// Of a cut normal's share within half its limit; what only a wide deviation
// tells from a uniform one.
TEST(Noise, IsNormalWithinANarrowLimit) {
  for (const double stddev : {0.5, 0.67, 0.7, 1.0, 2.0, 1e300}) {
    const Schedule schedule = noise(stddev, 3, 0.67);
    double inner = 0;
    for (int t = 0; t < kDraws; ++t) {
      inner += std::abs(schedule(t) - 1) < 0.67 / 2 ? 1.0 / kDraws : 0;
    }
    const double scale = stddev * std::sqrt(2.0);
    const double expected = std::erf(0.67 / 2 / scale) / std::erf(0.67 / scale);
    EXPECT_NEAR(inner, expected, 2.5 / std::sqrt(double{kDraws})) << stddev;
  }
}

TEST(Noise, IsAFunctionOfSeedAndTime) {
  const Schedule a = noise(0.1, 42);
  const Schedule b = noise(0.1, 42);
  const double late = a(777);
  for (int t = 0; t < 1000; ++t) {
    EXPECT_EQ(a(t), b(t));
  }
  EXPECT_EQ(a(777), late);
}

TEST(Noise, DiffersBetweenSeedsAndTimes) {
  std::set<double> seen;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const Schedule schedule = noise(0.1, seed);
    for (int t = 0; t < 100; ++t) {
      seen.insert(schedule(t));
    }
  }
  EXPECT_EQ(seen.size(), 10000U);
}

TEST(Noise, IsUnrelatedBetweenNeighbouringSeeds) {
  const Schedule a = noise(0.1, 1);
  const Schedule b = noise(0.1, 2);
  for (const int lag : {0, 1, 2}) {
    double product = 0;
    for (int t = 0; t < kDraws; ++t) {
      product += (a(t) - 1) * (b(t + lag) - 1) / kDraws;
    }
    EXPECT_NEAR(product / 0.01, 0, 5 / std::sqrt(static_cast<double>(kDraws)))
        << lag;
  }
}

TEST(Noise, StaysForOnePeriod) {
  const Schedule schedule = noise(0.1, 3, 0.5, 10);
  for (int k = 0; k < 100; ++k) {
    const double factor = schedule(10 * k);
    EXPECT_EQ(schedule(10 * k + 4.5), factor);
    EXPECT_EQ(schedule(std::nextafter(10.0 * (k + 1), 0.0)), factor);
    EXPECT_NE(schedule(10 * (k + 1)), factor);
  }
}

TEST(Noise, IsFreshAtTimesOfAnySize) {
  std::set<double> seen;
  for (int i = 0; i < 100; ++i) {
    seen.insert(noise(0.1)(1e15 + i));
    seen.insert(noise(0.1, 0, 0.5, 1e-9)(1e15 + i));
    seen.insert(noise(0.1)(1e17 * (i + 1)));
    seen.insert(noise(0.1)(std::ldexp(1 + i / 128.0, 300)));
  }
  EXPECT_EQ(seen.size(), 400U);
}

TEST(Noise, OfNoDeviationIsOne) {
  for (int t = 0; t < 100; ++t) {
    EXPECT_EQ(noise(0)(t), 1);
  }
}

TEST(Noise, RefusesBadArguments) {
  const testing::Refusal refusals[] = {
      {[] { noise(-0.1); }, {"noise", "stddev", "-0.1"}},
      {[] { noise(kNan); }, {"noise", "stddev", "nan"}},
      {[] { noise(0, 0, 0); }, {"noise", "limit", "(0, 1]", "got 0"}},
      {[] { noise(0.1, 0, 1.1); }, {"noise", "limit", "(0, 1]", "1.1"}},
      {[] { noise(0.1, 0, kNan); }, {"noise", "limit", "nan"}},
      {[] { noise(0.1, 0, 1, 0); }, {"noise", "period", "> 0", "got 0"}}};
  for (const testing::Refusal& refusal : refusals) {
    EXPECT_TRUE(testing::is_refused(refusal));
  }
}

}  // namespace
}  // namespace stepsize
