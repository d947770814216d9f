#include <gtest/gtest.h>
#include <stepsize/schedule/cycle.h>
#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/parse.h>
#include <stepsize/schedule/ramp.h>
#include <stepsize/tune/batch_size_schedule.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/error_text.h"
#include "tests/support/numbers.h"

namespace stepsize {
namespace {

using test::kInfinity;
using test::kNaN;
using test::message_of;
using BatchOptions = BatchSizeScheduleOptions;

// The schedules of real runs.
std::vector<Schedule> batch_curves() {
  return {
      cosine(1000),
      warmup(100).then(cosine(900, 0.01)),
      parse("multi_step 300 600 800 gamma 0.2 for 900.5"),
      parse("warmup 50 > cosine 300 to 0.1 repeat 3 decay 0.5"),
      parse("warmup 100 > constant for 500 > cooldown 400"),
      parse("polynomial 1000 power 2")};
}

TEST(BatchSizeSchedule, GrowsTheBatchWhereTheScheduleCutsTheRate) {
  // Smith et al. 2018, section 5.1: cuts by 5 become growth by 5.
  const BatchSizeSchedule batches(
      parse("multi_step 60 120 160 gamma 0.2 for 200"),
      BatchOptions(128, 3200));
  const auto expect_plan = [&](double t, int64_t batch, double factor) {
    EXPECT_EQ(batches.at(t).batch, batch) << t;
    EXPECT_NEAR(batches.at(t).lr_factor, factor, 1e-15) << t;
  };
  expect_plan(0, 128, 1);
  expect_plan(59, 128, 1);
  expect_plan(60, 640, 1);
  expect_plan(119, 640, 1);
  expect_plan(120, 3200, 1);
  // At the cap the rate is cut instead.
  expect_plan(160, 3200, 0.2);
  expect_plan(1e9, 3200, 0.2);
}

TEST(BatchSizeSchedule, RateOverBatchFollowsTheSchedule) {
  for (const Schedule& curve : batch_curves()) {
    const BatchSizeSchedule batches(
        curve, BatchOptions(96, 5000).max_micro_batch(64));
    for (double t = 0; t <= curve.length(); t += 0.5) {
      const BatchPlan plan = batches.at(t);
      EXPECT_NEAR(
          plan.lr_factor / (static_cast<double>(plan.batch) / 96),
          curve(t),
          1e-15)
          << curve.to_string() << " at " << t;
    }
  }
}

TEST(BatchSizeSchedule, RateOverTheRootOfTheBatchFollowsTheSchedule) {
  for (const Schedule& curve : batch_curves()) {
    const BatchSizeSchedule batches(
        curve,
        BatchOptions(96, 5000).max_micro_batch(64).exchange(
            BatchExchange::kSquareRoot));
    for (double t = 0; t <= curve.length(); ++t) {
      const BatchPlan plan = batches.at(t);
      EXPECT_NEAR(
          plan.lr_factor / std::sqrt(static_cast<double>(plan.batch) / 96),
          curve(t),
          1e-15)
          << curve.to_string() << " at " << t;
    }
  }
}

TEST(BatchSizeSchedule, KeepsToTheCapsInWholeMicroBatches) {
  for (const Schedule& curve : batch_curves()) {
    for (const int64_t most_micro : {1, 7, 64, 512, 5000}) {
      const BatchSizeSchedule batches(
          curve, BatchOptions(100, 5000).max_micro_batch(most_micro));
      int64_t before = 0;
      for (double t = 0; t <= curve.length(); ++t) {
        const BatchPlan plan = batches.at(t);
        ASSERT_EQ(plan.batch, plan.micro_batch * plan.accumulation);
        ASSERT_LE(plan.micro_batch, most_micro);
        ASSERT_LE(plan.batch, 5000);
        ASSERT_GE(plan.micro_batch, 1);
        ASSERT_GE(plan.batch, before) << curve.to_string() << " at " << t;
        before = plan.batch;
      }
    }
  }
}

TEST(BatchSizeSchedule, RoundingTakesLessThanAUnitAMicroBatchAndOneMore) {
  // In the last descent and below the cap the batch is that of the formula.
  const Schedule curve = cosine(1000, 0.02);
  for (const int64_t unit : {1, 4, 20}) {
    const BatchSizeSchedule batches(
        curve, BatchOptions(100, 100000).max_micro_batch(64).multiple_of(unit));
    for (int t = 0; t <= 1000; ++t) {
      const BatchPlan plan = batches.at(t);
      const double wanted = 100 / curve(t);
      EXPECT_EQ(plan.micro_batch % unit, 0) << unit << " at " << t;
      EXPECT_LE(static_cast<double>(plan.batch), wanted + 1e-6);
      EXPECT_GT(
          static_cast<double>(plan.batch + unit * (plan.accumulation + 1)),
          wanted - 1e-6)
          << unit << " at " << t;
      EXPECT_LE(plan.lr_factor, 1 + 1e-9);
    }
    // 78 times 64, 78 times 64 and 83 times 60.
    EXPECT_EQ(batches.at(1000).batch, unit == 20 ? 4980 : 4992);
  }
}

TEST(BatchSizeSchedule, WholeMicroBatchesAreAllOfOneSize) {
  for (const Schedule& curve : batch_curves()) {
    const BatchSizeSchedule batches(
        curve, BatchOptions(96, 5000).max_micro_batch(48).multiple_of(48));
    for (double t = 0; t <= curve.length(); ++t) {
      ASSERT_EQ(batches.at(t).micro_batch, 48) << curve.to_string();
      ASSERT_GE(batches.at(t).batch, 96) << curve.to_string();
      ASSERT_LE(batches.at(t).batch, 4992) << curve.to_string();
    }
  }
  // 512 to 4096 in eighths of the largest: cos(pi t / 1000) = 2 / k - 1 where
  // the batch reaches k of them.
  const BatchSizeSchedule eighths(
      cosine(1000),
      BatchOptions(512, 4096).max_micro_batch(512).multiple_of(512));
  EXPECT_EQ(eighths.at(0).accumulation, 1);
  for (int64_t k = 2; k <= 8; ++k) {
    const double share = 2 / static_cast<double>(k) - 1;
    const double reached = std::acos(share) / std::acos(-1.0) * 1000;
    const double after = std::ceil(reached - 1e-9);
    EXPECT_EQ(eighths.at(after - 1).accumulation, k - 1) << k;
    EXPECT_EQ(eighths.at(after).accumulation, k) << k;
  }
  EXPECT_EQ(eighths.at(1000).accumulation, 8);
}

TEST(BatchSizeSchedule, MultiplesKeepSmoothSchedulesToFewSizes) {
  const BatchSizeSchedule batches(
      cosine(1000),
      BatchOptions(128, 4096).max_micro_batch(512).multiple_of(128));
  int changes = 0;
  for (int t = 1; t <= 1000; ++t) {
    EXPECT_EQ(batches.at(t).micro_batch % 128, 0) << t;
    if (batches.at(t).batch != batches.at(t - 1).batch) ++changes;
  }
  // From 1 to at most 32 times 128.
  EXPECT_LE(changes, 31);
  EXPECT_EQ(batches.at(1000).batch, 4096);
}

TEST(BatchSizeSchedule, RateOfAnUnplannedBatchKeepsWhatTheExchangeKeeps) {
  for (const Schedule& curve : batch_curves()) {
    const auto options = BatchOptions(96, 5000).max_micro_batch(64);
    const BatchSizeSchedule linear(curve, options);
    const BatchSizeSchedule root(
        curve, BatchOptions(options).exchange(BatchExchange::kSquareRoot));
    for (double t = 0; t <= curve.length() + 10; t += 12.5) {
      const double factor = curve(std::min(t, curve.length()));
      EXPECT_EQ(
          linear.lr_factor(t, linear.at(t).batch), linear.at(t).lr_factor);
      EXPECT_EQ(root.lr_factor(t, root.at(t).batch), root.at(t).lr_factor);
      for (const int64_t batch : {1, 37, 96, 4999, 123456}) {
        const auto size = static_cast<double>(batch);
        EXPECT_NEAR(
            linear.lr_factor(t, batch) / size, factor / 96, 1e-15 * factor);
        EXPECT_NEAR(
            root.lr_factor(t, batch) / std::sqrt(size),
            factor / std::sqrt(96.0),
            1e-15 * factor);
      }
    }
  }
}

TEST(BatchSizeSchedule, WarmupIsDoneByTheRate) {
  const Schedule curve = warmup(100).then(cosine(900));
  const BatchSizeSchedule batches(curve, BatchOptions(128, 4096));
  for (int t = 0; t <= 100; ++t) {
    EXPECT_EQ(batches.at(t).batch, 128) << t;
    EXPECT_DOUBLE_EQ(batches.at(t).lr_factor, curve(t));
  }
  EXPECT_GT(batches.at(600).batch, 200);
  EXPECT_EQ(batches.at(1000).batch, 4096);
  EXPECT_EQ(batches.at(1000).lr_factor, 0);
}

TEST(BatchSizeSchedule, RestartsAreDoneByTheRateAndTheBatchGrowsBetweenPeaks) {
  // Three falls from 1, 1/2 and 1/4 to 0.
  const Schedule curve = parse("cosine 100 repeat 3 decay 0.5");
  const BatchSizeSchedule batches(curve, BatchOptions(64, 1024));
  EXPECT_EQ(batches.at(0).batch, 64);
  // Halfway down the first fall the second peak is higher than the factor.
  EXPECT_EQ(batches.at(90).batch, 128);
  EXPECT_NEAR(batches.at(90).lr_factor, curve(90) * 2, 1e-15);
  EXPECT_EQ(batches.at(100).batch, 128);
  EXPECT_DOUBLE_EQ(batches.at(100).lr_factor, 1);
  EXPECT_EQ(batches.at(200).batch, 256);
  EXPECT_DOUBLE_EQ(batches.at(200).lr_factor, 1);
  EXPECT_EQ(batches.at(300).batch, 1024);
}

TEST(BatchSizeSchedule, SquareRootExchangeGrowsByTheSquare) {
  const BatchSizeSchedule batches(
      parse("multi_step 10 20 gamma 0.5 for 30"),
      BatchOptions(32, 1024).exchange(BatchExchange::kSquareRoot));
  EXPECT_EQ(batches.at(10).batch, 128);
  EXPECT_EQ(batches.at(20).batch, 512);
  EXPECT_DOUBLE_EQ(batches.at(20).lr_factor, 1);
}

TEST(BatchSizeSchedule, UpdatesSeeAsManyExamplesAsTheScheduleHas) {
  for (const Schedule& curve : batch_curves()) {
    const BatchSizeSchedule batches(
        curve, BatchOptions(96, 2000).max_micro_batch(64));
    int64_t examples = 0;
    for (int64_t n = 0; n < batches.updates(); ++n) {
      const BatchPlan plan = batches.at_update(n);
      const BatchPlan there = batches.at(static_cast<double>(examples) / 96);
      ASSERT_EQ(plan.batch, there.batch)
          << curve.to_string() << " update " << n;
      ASSERT_EQ(plan.lr_factor, there.lr_factor);
      // The one before the last is not the last.
      ASSERT_LT(static_cast<double>(examples), curve.length() * 96);
      examples += plan.batch;
    }
    EXPECT_GE(static_cast<double>(examples), curve.length() * 96);
    EXPECT_LT(static_cast<double>(batches.updates()), curve.length());
    EXPECT_EQ(
        batches.at_update(batches.updates()).lr_factor,
        batches.at(curve.length()).lr_factor);
    EXPECT_EQ(
        batches.at_update(INT64_MAX).batch, batches.at(curve.length()).batch);
  }
}

TEST(BatchSizeSchedule, CountsUpdatesByHand) {
  // 10 updates of 32 and then 640 examples in updates of 64.
  const BatchSizeSchedule halves(
      parse("multi_step 10 gamma 0.5 for 30"), BatchOptions(32, 64));
  EXPECT_EQ(halves.updates(), 20);
  EXPECT_EQ(halves.at_update(9).batch, 32);
  EXPECT_EQ(halves.at_update(10).batch, 64);
  // An update may reach over the next change: 2 of 3, 1 of 30 from 6 to 36.
  const BatchSizeSchedule jumps(
      parse("multi_step 2 gamma 0.1 * multi_step 5 gamma 0.5").limit(13),
      BatchOptions(3, 60));
  EXPECT_EQ(jumps.at_update(2).batch, 30);
  EXPECT_EQ(jumps.at_update(3).batch, 60);
  EXPECT_EQ(jumps.updates(), 4);
  // 1 of 100, and 9 of 105 reach past 1040; the growth to 110 comes too late.
  const BatchSizeSchedule between(
      parse("multi_step 1 10.2 gamma 0.952 for 10.4"), BatchOptions(100, 200));
  EXPECT_EQ(between.updates(), 10);
  EXPECT_EQ(between.at_update(9).batch, 105);
  EXPECT_EQ(between.at_update(10).batch, 110);
}

TEST(BatchSizeSchedule, RateOverUpdatesIsASchedule) {
  const BatchSizeSchedule batches(
      warmup(10).then(cosine(90, 0.05)),
      BatchOptions(32, 256).max_micro_batch(64));
  const Schedule rates = batches.lr_schedule();
  EXPECT_EQ(rates.length(), static_cast<double>(batches.updates()));
  for (int64_t n = 0; n < batches.updates() + 5; ++n) {
    EXPECT_EQ(rates(static_cast<double>(n)), batches.at_update(n).lr_factor)
        << n;
  }
  EXPECT_EQ(rates(1e300), batches.at(100).lr_factor);
}

TEST(BatchSizeSchedule, RefusesWhatIsOutOfRange) {
  const auto with = [](const BatchOptions& options) {
    return [options] { BatchSizeSchedule(cosine(10), options); };
  };
  const BatchSizeSchedule sound(cosine(10), BatchOptions(1, 2));
  const std::vector<std::pair<std::function<void()>, std::string>> table = {
      {with(BatchOptions(0, 8)), "base_batch must be >= 1, got 0"},
      {with(BatchOptions(8, 7)),
       "max_batch must be in [base_batch, 1e9] = [8, 1000000000], got 7"},
      {with(BatchOptions(8, 1'000'000'001)),
       "max_batch must be in [base_batch, 1e9] = [8, 1000000000], got "
       "1000000001"},
      {with(BatchOptions(8, 8).max_micro_batch(-1)),
       "max_micro_batch must be >= 0, got -1"},
      {with(BatchOptions(8, 64).multiple_of(0)),
       "multiple_of must be in [1, max_micro_batch] = [1, 64], got 0"},
      {with(BatchOptions(8, 64).max_micro_batch(4).multiple_of(8)),
       "multiple_of must be in [1, max_micro_batch] = [1, 4], got 8"},
      {with(BatchOptions(12, 64).multiple_of(8)),
       "base_batch must be a multiple of multiple_of = 8, got 12"},
      {[] { BatchSizeSchedule(constant(), BatchOptions(1, 2)); },
       "the schedule must have an end; cut it with limit(): constant 1"},
      {[] { BatchSizeSchedule(cosine(2e8), BatchOptions(1, 2)); },
       "the schedule's length must be <= 1e8, got 2e+08"},
      {[] { BatchSizeSchedule(constant(0).limit(5), BatchOptions(1, 2)); },
       "the schedule's factor must be > 0 somewhere: " +
           constant(0).limit(5).to_string()},
      {[&] { sound.at(-1); }, "t must be >= 0, got -1"},
      {[&] { sound.at(kNaN); }, "t must be >= 0, got nan"},
      {[&] { sound.at_update(-1); }, "n must be >= 0, got -1"},
      {[&] { sound.lr_factor(kNaN, 1); }, "t must be >= 0, got nan"},
      {[&] { sound.lr_factor(0, 0); }, "batch must be >= 1, got 0"},
  };
  for (const auto& [call, expected] : table) {
    EXPECT_EQ(message_of(call), "BatchSizeSchedule: " + expected);
  }
  EXPECT_NO_THROW(sound.at(kInfinity));
}

}  // namespace
}  // namespace stepsize
