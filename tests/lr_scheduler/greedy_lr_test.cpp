#include <stepsize/lr_scheduler/greedy_lr.h>

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <string>
#include <vector>

#include "tests/lr_scheduler/support/spec.h"
#include "tests/support/archive_bytes.h"
#include "tests/support/error_text.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

// After step `epoch`, from 0.
struct GreedyTrace {
  int epoch;
  double first;
  double second;
  double best;
};

// Falls and rises, with a peak now and then, in parts of 64.
double greedy_metric(int epoch) {
  const double wave =
      2 + std::cos(0.21 * epoch) + (epoch % 17 == 5 ? 0.5 : 0) - 0.004 * epoch;
  return std::round(wave * 64) / 64;
}

// What a program that knows the rule by its description alone does with these.
const std::vector<GreedyTrace> kGreedyMin = {
    {3, 0.125, 0.024999999999999998, 2.90625},
    {9, 0.14999999999999999, 0.031249999999999997, 1.859375},
    {15, 0.14999999999999999, 0.039062499999999993, 1.03125},
    {20, 0.12, 0.031249999999999997, 0.953125},
    {30, 0.096000000000000002, 0.024999999999999998, 0.953125},
    {50, 0.061440000000000008, 0.016, 0.828125},
    {80, 0.02516582400000001, 0.014999999999999999, 0.703125},
    {119, 0.01, 0.014999999999999999, 0.609375}};

const std::vector<GreedyTrace> kGreedyMinRel = {
    {3, 0.10000000000000001, 0.02, 2.890625},
    {9, 0.14999999999999999, 0.031249999999999997, 1.8645833333333333},
    {15, 0.14999999999999999, 0.039062499999999993, 1.046875},
    {20, 0.12, 0.031249999999999997, 0.96875},
    {30, 0.096000000000000002, 0.024999999999999998, 0.96875},
    {50, 0.076800000000000007, 0.02, 0.83854166666666663},
    {80, 0.02516582400000001, 0.014999999999999999, 0.83854166666666663},
    {119, 0.01, 0.014999999999999999, 0.609375}};

const std::vector<GreedyTrace> kGreedyMax = {
    {3, 0.080000000000000016, 0.016, 3},
    {9, 0.064000000000000015, 0.014999999999999999, 3},
    {15, 0.051200000000000016, 0.014999999999999999, 3},
    {20, 0.051200000000000016, 0.014999999999999999, 3},
    {30, 0.032768000000000012, 0.014999999999999999, 3},
    {50, 0.016777216000000008, 0.014999999999999999, 3},
    {80, 0.01, 0.014999999999999999, 3},
    {119, 0.01, 0.014999999999999999, 3}};

GreedyLROptions greedy_options() {
  return GreedyLROptions()
      .factor(0.8)
      .patience(2)
      .cooldown(3)
      .warmup(2)
      .threshold(0.01)
      .min_lr(std::vector<double>{0.01, 0.015})
      .max_lr(0.15);
}

void expect_greedy_trace(
    const GreedyLROptions& options, const std::vector<GreedyTrace>& trace) {
  const auto optimizer = make_optimizer("SGD", {0.1, 0.02});
  GreedyLR scheduler(*optimizer, options);
  std::size_t compared = 0;
  for (int epoch = 0; compared < trace.size(); ++epoch) {
    scheduler.step(greedy_metric(epoch));
    const GreedyTrace& expected = trace[compared];
    if (epoch != expected.epoch) continue;
    EXPECT_NEAR(lrs_of(*optimizer)[0], expected.first, 1e-12) << epoch;
    EXPECT_NEAR(lrs_of(*optimizer)[1], expected.second, 1e-12) << epoch;
    EXPECT_NEAR(scheduler.best(), expected.best, 1e-12) << epoch;
    ++compared;
  }
}

TEST(GreedyLR, RaisesAndCutsAsAProgramOfItsDescriptionDoes) {
  expect_greedy_trace(greedy_options(), kGreedyMin);
  expect_greedy_trace(
      greedy_options().window(3).threshold_mode(ThresholdMode::kRel),
      kGreedyMinRel);
  expect_greedy_trace(
      greedy_options().window(4).mode(MetricMode::kMax), kGreedyMax);
}

TEST(GreedyLR, HasTheAuthorsDefaults) {
  EXPECT_EQ(
      GreedyLROptions().describe(),
      "GreedyLR(mode=min, factor=0.95, patience=10, threshold=1e-06, "
      "threshold_mode=abs, cooldown=0, warmup=0, window=1, min_lr=0.001, "
      "max_lr=1, eps=1e-08)");
}

TEST(GreedyLR, ChangesAtTheStepAfterItsPatience) {
  const auto optimizer = make_optimizer("SGD", {0.1, 0.1});
  GreedyLR scheduler(*optimizer, GreedyLROptions().factor(0.9).patience(3));
  for (const double metric : {8.0, 6.4, 5.12}) scheduler.step(metric);
  EXPECT_EQ(scheduler.num_good_epochs(), 3);
  EXPECT_EQ(lrs_of(*optimizer)[0], 0.1);
  scheduler.step(4.0);
  EXPECT_DOUBLE_EQ(lrs_of(*optimizer)[0], 0.1 / 0.9);
  EXPECT_EQ(scheduler.num_good_epochs(), 0);
  for (int i = 0; i < 3; ++i) scheduler.step(10);
  EXPECT_DOUBLE_EQ(lrs_of(*optimizer)[0], 0.1 / 0.9);
  scheduler.step(kNaN);  // improves nothing
  EXPECT_DOUBLE_EQ(lrs_of(*optimizer)[0], 0.1);
  EXPECT_EQ(scheduler.best(), 4);
}

TEST(GreedyLR, ARateBeyondTheLimitsIsNotMovedTowardsThem) {
  const auto optimizer = make_optimizer("SGD", {2.0, 1e-4});
  GreedyLR scheduler(*optimizer, GreedyLROptions().patience(0));
  scheduler.step(1);
  EXPECT_EQ(lrs_of(*optimizer)[0], 2);
  scheduler.step(2);
  EXPECT_EQ(lrs_of(*optimizer)[0], 2 * 0.95);
  EXPECT_EQ(lrs_of(*optimizer)[1], 1e-4 / 0.95);
}

TEST(GreedyLR, ANaNLeavesTheWindow) {
  const auto optimizer = make_optimizer("SGD", {0.1, 0.1});
  GreedyLR scheduler(*optimizer, GreedyLROptions().window(2));
  for (const double metric : {4.0, kNaN, 3.0}) scheduler.step(metric);
  EXPECT_EQ(scheduler.best(), 4);
  scheduler.step(2);
  EXPECT_EQ(scheduler.best(), 2.5);
}

TEST(GreedyLR, StateKeepsAllThatItKnows) {
  const auto options = greedy_options().window(4);
  for (const int before : {1, 7, 16, 33}) {
    const auto optimizer = make_optimizer("SGD", {0.1, 0.02});
    GreedyLR scheduler(*optimizer, options);
    for (int i = 0; i < before; ++i) scheduler.step(greedy_metric(i));
    const auto other = make_optimizer("SGD", {1.0, 1.0});
    GreedyLR resumed(*other, options);
    load(resumed, saved(scheduler));
    EXPECT_EQ(resumed.cooldown_counter(), scheduler.cooldown_counter());
    EXPECT_EQ(resumed.warmup_counter(), scheduler.warmup_counter());
    EXPECT_EQ(resumed.num_good_epochs(), scheduler.num_good_epochs());
    for (int i = before; i < before + 60; ++i) {
      ASSERT_EQ(lrs_of(*other), lrs_of(*optimizer));
      ASSERT_EQ(resumed.best(), scheduler.best());
      scheduler.step(greedy_metric(i));
      resumed.step(greedy_metric(i));
    }
  }
}

TEST(GreedyLR, LoadsIntoOtherOptionsWhereAsked) {
  const auto optimizer = make_optimizer("SGD", {0.1, 0.02});
  GreedyLR scheduler(*optimizer, greedy_options().window(4));
  for (int i = 0; i < 9; ++i) scheduler.step(greedy_metric(i));
  const std::string bytes = saved(scheduler);
  GreedyLR other(*optimizer, greedy_options().factor(0.5));
  EXPECT_NE(
      message_of([&] {
        load(other, bytes);
      }).find("factor is 0.8 in the file, 0.5 here"),
      std::string::npos);
  EXPECT_TRUE(std::isinf(other.best()));
  for (const OptionsFrom from : {OptionsFrom::kProgram, OptionsFrom::kFile}) {
    torch::serialize::InputArchive archive;
    archive.load_from(bytes.data(), bytes.size());
    GreedyLR resumed(*optimizer, greedy_options().factor(0.5));
    resumed.load(archive, from);
    EXPECT_EQ(resumed.best(), scheduler.best());
    EXPECT_NE(
        resumed.describe().find(
            from == OptionsFrom::kFile ? "factor=0.8" : "factor=0.5"),
        std::string::npos);
  }
}

}  // namespace
}  // namespace stepsize::test
