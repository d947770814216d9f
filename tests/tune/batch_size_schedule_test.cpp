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

TEST(BatchSizeSchedule, RoundingTakesLessThanOneExampleAMicroBatch) {
  // In the last descent and below the cap the batch is that of the formula.
  const Schedule curve = cosine(1000, 0.02);
  const BatchSizeSchedule batches(
      curve, BatchOptions(100, 100000).max_micro_batch(64));
  for (int t = 0; t <= 1000; ++t) {
    const BatchPlan plan = batches.at(t);
    const double wanted = 100 / curve(t);
    EXPECT_LE(static_cast<double>(plan.batch), wanted + 1e-6);
    EXPECT_GT(
        static_cast<double>(plan.batch + plan.accumulation + 1), wanted - 1e-6);
    EXPECT_LE(plan.lr_factor, 1 + 1e-9);
    EXPECT_GT(plan.lr_factor, 0.97);
  }
  EXPECT_EQ(batches.at(1000).batch, 4992);  // 78 times 64
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

TEST(BatchSizeSchedule, TextReadsBackAsTheSameSchedule) {
  const std::string text =
      "batch 128 to 4096 by 512 linear of warmup 500 > cosine 9500";
  EXPECT_EQ(BatchSizeSchedule::parse(text).to_string(), text);
  EXPECT_EQ(
      BatchSizeSchedule(
          warmup(500).then(cosine(9500)),
          BatchOptions(128, 4096).max_micro_batch(512))
          .to_string(),
      text);
  const auto root =
      BatchSizeSchedule::parse(" batch 8 to 64  sqrt of polynomial 5");
  EXPECT_EQ(root.options().exchange(), BatchExchange::kSquareRoot);
  EXPECT_EQ(root.options().max_micro_batch(), 0);
  EXPECT_EQ(
      root.to_string(), "batch 8 to 64 sqrt of " + root.schedule().to_string());
  ParseContext context;
  context.run_length = 200;
  EXPECT_EQ(
      BatchSizeSchedule::parse("batch 8 to 64 linear of cosine 50%", context)
          .schedule(),
      cosine(100));
}

TEST(BatchSizeSchedule, TextThatIsNoneIsRefusedWithTheForm) {
  const auto message = [](const std::string& text) {
    return message_of([&] { BatchSizeSchedule::parse(text); });
  };
  EXPECT_EQ(
      message("batch 8 upto 64 linear of cosine 5"),
      "BatchSizeSchedule: the text must read \"batch BASE to MOST [by MICRO] "
      "linear|sqrt of SCHEDULE\"; expected 'to', got 'upto' in \"batch 8 upto "
      "64 linear of cosine 5\"");
  for (const char* text :
       {"",
        "batch",
        "batch -8 to 64 linear of cosine 5",
        "batch 8.5 to 64 linear of cosine 5",
        "batch 8 to 99999999999999999999 linear of cosine 5",
        "batch 8 to 64 cubic of cosine 5",
        "batch 8 to 64 by linear of cosine 5",
        "batch 8 to 64 linear cosine 5"}) {
    EXPECT_NE(message(text).find("the text must read"), std::string::npos)
        << text;
  }
  EXPECT_THROW(
      BatchSizeSchedule::parse("batch 8 to 64 linear of cosin 5"), ParseError);
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
  };
  for (const auto& [call, expected] : table) {
    EXPECT_EQ(message_of(call), "BatchSizeSchedule: " + expected);
  }
  EXPECT_NO_THROW(sound.at(kInfinity));
}

}  // namespace
}  // namespace stepsize
