#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/optim/growth_trend.h>
#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/error_text.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;

struct Point {
  double norm;
  double loss;
};

constexpr double kRatio = 3;
constexpr double kBlindRatio = 30;

// The first step, counted from 1, at which growth shows, and 0 where none does.
int64_t first_seen(
    int64_t steps, const std::function<Point(int64_t step)>& point_at) {
  GrowthTrend trend;
  for (int64_t step = 1; step <= steps; ++step) {
    const Point point = point_at(step);
    if (trend.add(point.norm, point.loss, kRatio, kBlindRatio) > 0) {
      return step;
    }
  }
  return 0;
}

// Twelve windows of w steps show growth by 11 w log q.
int64_t expected_step(double q, double ratio) {
  int64_t window = 4;
  while (11 * static_cast<double>(window) * std::log(q) < std::log(ratio)) {
    window *= 2;
  }
  return 12 * window;
}

TEST(GrowthTrend, SeesGrowthByAFactorAsSoonAsTwelveWindowsShowIt) {
  for (const double q : {1.0001, 1.0005, 1.001, 1.002, 1.01, 1.02, 1.2}) {
    for (const double offset : {0.0, 0.25, -100.0}) {
      const auto seen = first_seen(20000, [&](int64_t step) {
        const double x = std::pow(q, static_cast<double>(step));
        return Point{x, offset + x * x / 2};
      });
      EXPECT_EQ(seen, expected_step(q, kRatio)) << q << ", " << offset;
    }
    const auto seen = first_seen(60000, [&](int64_t step) {
      return Point{std::pow(q, static_cast<double>(step)), kNaN};
    });
    EXPECT_EQ(seen, expected_step(q, kBlindRatio)) << q;
  }
}

TEST(GrowthTrend, SeesItAfterALongDescentBelowWhereItBegan) {
  // Down by 1e4 in the norm, then up again by 1 per cent a step.
  const auto seen = first_seen(4000, [](int64_t step) {
    const double x =
        std::max(std::pow(0.99, static_cast<double>(step)), 1e-4) *
        std::pow(1.01, std::max(0.0, static_cast<double>(step - 1000)));
    return Point{x, x * x / 2};
  });
  EXPECT_GT(seen, 1000);
  // 1.01^900 is 7.7e3.
  EXPECT_LT(seen, 1900);
}

TEST(GrowthTrend, AGradientThatGrowsWhileTheLossFallsIsNone) {
  EXPECT_EQ(
      first_seen(
          5000,
          [](int64_t step) {
            const auto t = static_cast<double>(step);
            return Point{std::pow(1.01, t), 1 / t};
          }),
      0);
}

TEST(GrowthTrend, WhatIsBoundedOrSlowsDownIsNone) {
  const std::vector<std::function<Point(double t)>> bounded = {
      [](double t) {
        const double x = std::pow(0.999, t);
        return Point{x, x * x};
      },
      [](double /*t*/) {
        return Point{1, 1};
      },
      // A cycle of two points.
      [](double t) {
        const double x = std::fmod(t, 2) == 0 ? 1 : 9;
        return Point{x, x};
      },
      // In proportion to the step, from any start.
      [](double t) {
        return Point{1 + t, 1 + t};
      },
      [](double t) {
        return Point{1000 + t, 1000 + t};
      },
      // Oscillations, slow and fast, that keep their amplitude.
      [](double t) {
        const double x = std::abs(std::sin(t / 30));
        return Point{x, x * x};
      },
      [](double t) {
        const double x = std::abs(std::sin(t / 3000));
        return Point{x, x * x};
      }};
  for (std::size_t i = 0; i < bounded.size(); ++i) {
    const auto seen = first_seen(40000, [&](int64_t step) {
      return bounded[i](static_cast<double>(step));
    });
    EXPECT_EQ(seen, 0) << i;
  }
}

// Stochastic descent at an optimum: x wanders and returns with the correlation
// 1 - rate, and losses span many orders of magnitude.
TEST(GrowthTrend, NoiseThatWandersIsNone) {
  torch::manual_seed(1);
  constexpr int64_t kDraws = 200000;
  for (const double rate : {1e-3, 0.01, 0.1, 1.0}) {
    const auto noise = torch::randn({kDraws + 1}, torch::kFloat64);
    const auto values = noise.accessor<double, 1>();
    double x = 0;
    const auto seen = first_seen(kDraws, [&](int64_t step) {
      const double gradient = x + values[step];
      const Point point{std::abs(gradient), x * x / 2};
      x -= rate * gradient;
      return point;
    });
    EXPECT_EQ(seen, 0) << rate;
  }
}

TEST(GrowthTrend, CopesWithNumbersAtTheEdgeOfTheRange) {
  GrowthTrend trend;
  for (int i = 0; i < 600; ++i) {
    const double loss = i % 3 == 0 ? 1.7e308 : -1.7e308;
    EXPECT_EQ(trend.add(i % 2 == 0 ? 5e-324 : 1.7e308, loss, 3, 30), 0);
    EXPECT_EQ(trend.add(0, loss, 3, 30), 0);
  }
  GrowthTrend().restore(trend.state());
  // Infinity for never.
  double norm = 1;
  trend.clear();
  for (int i = 0; i < 600; ++i) {
    norm *= 1.1;
    EXPECT_EQ(trend.add(norm, norm, kInfinity, kInfinity), 0);
  }
}

TEST(GrowthTrend, GoesOnFromItsState) {
  const auto point = [](int64_t step) {
    const double x = std::pow(1.003, static_cast<double>(step));
    return Point{x, step < 40 ? kNaN : x};
  };
  for (const int64_t at : {0, 1, 3, 4, 50, 333, 383}) {
    GrowthTrend trend;
    GrowthTrend resumed;
    for (int64_t step = 1; step <= 800; ++step) {
      const Point p = point(step);
      const auto span = trend.add(p.norm, p.loss, kRatio, kBlindRatio);
      if (step == at) resumed.restore(trend.state());
      if (step > at) {
        EXPECT_EQ(resumed.add(p.norm, p.loss, kRatio, kBlindRatio), span);
      }
    }
    EXPECT_EQ(resumed.state().size(), trend.state().size());
  }
}

TEST(GrowthTrend, RefusesAStateThatIsNone) {
  GrowthTrend trend;
  for (int i = 1; i < 100; ++i) trend.add(i, i, 3, 30);
  const auto state = trend.state();
  const auto refusal = [&](std::size_t place, double value) {
    auto wrong = state;
    wrong[place] = value;
    return message_of([&] { trend.restore(wrong); });
  };
  EXPECT_THAT(refusal(0, -1), HasSubstr("count of steps, got -1"));
  EXPECT_THAT(refusal(0, 1.5), HasSubstr("count of steps, got 1.5"));
  EXPECT_THAT(refusal(0, kNaN), HasSubstr("count of steps"));
  EXPECT_THAT(refusal(0, 1e15), HasSubstr("numbers of a state"));
  EXPECT_THAT(refusal(1, kNaN), HasSubstr("not finite"));
  EXPECT_THAT(refusal(5, kInfinity), HasSubstr("not finite"));
  EXPECT_THAT(refusal(state.size() - 1, kNaN), HasSubstr("not finite"));
  EXPECT_EQ(trend.state(), state);
}

}  // namespace
}  // namespace stepsize::test
