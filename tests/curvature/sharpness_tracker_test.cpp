#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <stepsize/curvature/sharpness_tracker.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using Options = SharpnessTrackerOptions;

TEST(SharpnessTracker, StartsAtTheShareOfTheLimit) {
  SharpnessTracker tracker(Options().safety(0.8));
  EXPECT_FALSE(tracker.started());
  EXPECT_TRUE(tracker.due());
  EXPECT_TRUE(std::isnan(tracker.sharpness()));
  EXPECT_THROW(tracker.next_rate(), c10::Error);
  tracker.measure(40);
  EXPECT_DOUBLE_EQ(tracker.rate(), 2 * 0.8 / 40);
  EXPECT_DOUBLE_EQ(tracker.next_rate(), 2 * 0.8 / 40);
  EXPECT_EQ(tracker.sharpness(), 40);
}

TEST(SharpnessTracker, FallsAtOnceAndRisesSlowly) {
  SharpnessTracker tracker(Options().safety(0.5).lr_growth(2));
  tracker.measure(10);
  tracker.measure(20);
  EXPECT_DOUBLE_EQ(tracker.rate(), 1.0 / 20);
  tracker.measure(10);
  EXPECT_DOUBLE_EQ(tracker.sharpness(), 0.99 * 20 + 0.01 * 10);
}

TEST(SharpnessTracker, GrowsByTheFactorAnUpdateUpToTheCap) {
  SharpnessTracker tracker(
      Options().safety(0.5).lr_growth(1.5).lr_cap(3).decay(0));
  tracker.measure(10);
  EXPECT_DOUBLE_EQ(tracker.next_rate(), 0.1);
  tracker.measure(1e-6);
  const std::vector<double> expected{0.15, 0.225, 0.3, 0.3};
  for (const double rate : expected) {
    EXPECT_DOUBLE_EQ(tracker.next_rate(), rate);
  }
}

TEST(SharpnessTracker, MeasuredAnewItForgetsWhatWasBefore) {
  SharpnessTracker tracker(Options().lr_cap(3).lr_growth(2).decay(0));
  tracker.measure_anew(10, 1.5);
  EXPECT_DOUBLE_EQ(tracker.next_rate(), 0.1);
  // The rate grows by the factor, or is that of the new sharpness.
  tracker.measure_anew(1, 1.5);
  EXPECT_EQ(tracker.sharpness(), 1);
  EXPECT_DOUBLE_EQ(tracker.next_rate(), 0.15);
  tracker.measure_anew(100, 1.5);
  EXPECT_DOUBLE_EQ(tracker.next_rate(), 0.01);
  EXPECT_EQ(tracker.interval(), 1);
  // The cap is three times that of the last one.
  tracker.measure(1e-6);
  EXPECT_DOUBLE_EQ(tracker.next_rate(), 0.02);
  EXPECT_DOUBLE_EQ(tracker.next_rate(), 0.03);
  EXPECT_DOUBLE_EQ(tracker.next_rate(), 0.03);
  EXPECT_THROW(tracker.measure_anew(1, 0.5), c10::Error);
  EXPECT_THROW(tracker.measure_anew(kNaN, 1), c10::Error);
  EXPECT_DOUBLE_EQ(tracker.rate(), 0.03);
}

TEST(SharpnessTracker, KeepsBelowMaxLr) {
  SharpnessTracker tracker(Options().max_lr(0.01));
  tracker.measure(1);
  EXPECT_EQ(tracker.next_rate(), 0.01);
}

TEST(SharpnessTracker, DoublesItsIntervalAndReturnsToOneAfterAJump) {
  SharpnessTracker tracker(Options().max_interval(10));
  std::vector<int> measured_at;
  for (int update = 0; update < 60; ++update) {
    if (tracker.due()) {
      measured_at.push_back(update);
      tracker.measure(update == 35 ? 1.3 : 1);
    }
    tracker.next_rate();
  }
  // 1, 2, 4, 8, 10, 10, then a jump at 35: 1, 2, 4, 8.
  EXPECT_EQ(
      measured_at, std::vector<int>({0, 1, 3, 7, 15, 25, 35, 36, 38, 42, 50}));
}

TEST(SharpnessTracker, TakesAFlatLossForWhatItIs) {
  SharpnessTracker tracker;
  tracker.measure(0);
  EXPECT_EQ(tracker.next_rate(), 1e-3);
  EXPECT_EQ(tracker.next_rate(), 1e-3);
  // Curvature lets it grow from where it is, up to its limit.
  tracker.measure(40);
  EXPECT_DOUBLE_EQ(tracker.next_rate(), 1.01e-3);
  EXPECT_DOUBLE_EQ(tracker.next_rate(), 1.01 * 1.01e-3);
  for (int i = 0; i < 1000; ++i) tracker.next_rate();
  EXPECT_DOUBLE_EQ(tracker.rate(), 1.0 / 40);
  tracker.measure(1000);
  EXPECT_DOUBLE_EQ(tracker.next_rate(), 1e-3);
  SharpnessTracker limited(Options().max_lr(0.5));
  limited.measure(0);
  EXPECT_EQ(limited.next_rate(), 0.5);
}

TEST(SharpnessTracker, CountsItsCapFromTheFirstCurvature) {
  for (const bool flat_first : {false, true}) {
    SharpnessTracker tracker(Options().lr_cap(3).lr_growth(2).decay(0));
    if (flat_first) tracker.measure(0);
    SharpnessTracker resumed(tracker.options());
    resumed.restore(tracker.state());
    resumed.measure(10);
    resumed.measure(1e-6);
    for (int i = 0; i < 100; ++i) resumed.next_rate();
    // Three times 2 s / 10.
    EXPECT_DOUBLE_EQ(resumed.rate(), 0.3) << flat_first;
  }
}

TEST(SharpnessTracker, WithoutACapGrowthIsStillLimited) {
  SharpnessTracker tracker(Options().lr_cap(kInfinity).lr_growth(2).decay(0));
  tracker.measure(10);
  EXPECT_DOUBLE_EQ(tracker.next_rate(), 0.1);
  tracker.measure(1e-6);
  EXPECT_DOUBLE_EQ(tracker.next_rate(), 0.2);
  SharpnessTracker other;
  other.restore(tracker.state());
  other.set_options(tracker.options());
  EXPECT_DOUBLE_EQ(other.next_rate(), 0.4);
}

TEST(SharpnessTracker, GoesOnFromItsState) {
  SharpnessTracker tracker;
  SharpnessTracker other;
  const auto run = [](SharpnessTracker& one, int from, int to) {
    double rate = 0;
    for (int update = from; update < to; ++update) {
      if (one.due()) one.measure(5 + std::sin(update));
      rate = one.next_rate();
    }
    return rate;
  };
  run(tracker, 0, 37);
  other.restore(tracker.state());
  EXPECT_EQ(run(tracker, 37, 90), run(other, 37, 90));
  for (const auto& bad : std::vector<std::vector<double>>{
           {},
           {1, 2, 3},
           {1, 1, 1, 1, 1, 1, 0},
           {6, 1, 1, 1, 1, 1, 0, 0},
           {2.5, 1, 1, 1, 1, 1, 0, 0},
           {2, 1, 1, 1, 1.5, 1, 0, 0},
           {2, 1, 1, 1, 2, 1.5, 0, 0},
           {1, kNaN, 1, 1, 1, 1, 0, 0},
           {1, 1, 1, 1, 1, 1, 0, 0.5}}) {
    EXPECT_THROW(other.restore(bad), c10::Error);
  }
  EXPECT_EQ(tracker.state(), other.state());
}

TEST(SharpnessTracker, CountsFiveMeasurements) {
  SharpnessTracker tracker;
  for (const int64_t count : {1, 2, 3, 4, 5, 5}) {
    tracker.measure(1);
    EXPECT_EQ(tracker.measurements(), count);
  }
  SharpnessTracker other;
  other.restore(tracker.state());
  EXPECT_EQ(other.measurements(), 5);
}

TEST(SharpnessTracker, RefusesOptionsAndMeasurementsOutOfRange) {
  for (const auto& options :
       {Options().safety(0),
        Options().safety(kNaN),
        Options().max_interval(0),
        Options().lr_growth(0.5),
        Options().lr_growth(kNaN),
        Options().lr_cap(0.9),
        Options().max_lr(0),
        Options().decay(1),
        Options().decay(-0.1)}) {
    EXPECT_THROW(SharpnessTracker{options}, c10::Error);
  }
  SharpnessTracker tracker;
  EXPECT_THROW(tracker.measure(kNaN), c10::Error);
  EXPECT_THROW(tracker.measure(-1), c10::Error);
  EXPECT_FALSE(tracker.started());
}

}  // namespace
}  // namespace stepsize::test
