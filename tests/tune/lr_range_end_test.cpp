#include <stepsize/tune/lr_range_test.h>

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>

#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"
#include "tests/tune/lr_range_runs.h"

namespace stepsize {
namespace {

using test::kNaN;
using test::leaf;
using test::UnitBowl;
using torch::optim::SGD;
using torch::optim::SGDOptions;

// The numbers of points below are of so many rates.
LRRangeTestOptions hundred() {
  return LRRangeTestOptions().num_iterations(100);
}

TEST(LRRangeEnd, StopsOnDivergence) {
  UnitBowl bowl;
  const auto result = bowl.test(hundred().start_lr(0.01).end_lr(1e3));
  EXPECT_EQ(result.status, LRRangeStatus::kDiverged);
  EXPECT_LT(result.lrs.size(), 100u);
  // The loss rises for rates above 2.
  EXPECT_GT(result.lrs.back(), 2);
  EXPECT_LT(result.lrs.back(), 40);
  EXPECT_GT(result.suggestion(), 0.02);
  EXPECT_LT(*result.suggestions.maximal, 3);
  EXPECT_NE(result.reason.find("at rate"), std::string::npos);
}

TEST(LRRangeEnd, StopsAlikeWhereTheLossIsNegative) {
  UnitBowl bowl;
  const auto options = hundred().start_lr(0.01).end_lr(1e3);
  const auto plain = bowl.test(options);
  const auto lowered = lr_range_test(
      {bowl.w}, bowl.optimizer, [&] { return bowl() - 1000; }, options);
  EXPECT_EQ(lowered.status, LRRangeStatus::kDiverged);
  EXPECT_EQ(lowered.lrs, plain.lrs);
  EXPECT_EQ(*lowered.suggestions.maximal, *plain.suggestions.maximal);
}

TEST(LRRangeEnd, InfiniteFactorTurnsTheDivergenceOff) {
  UnitBowl bowl;
  const auto result = bowl.test(
      hundred().start_lr(0.01).end_lr(10).divergence(test::kInfinity));
  EXPECT_EQ(result.status, LRRangeStatus::kFinished);
  EXPECT_EQ(result.lrs.size(), 100u);
}

TEST(LRRangeEnd, ALossThatOnlyRisesHasDivergedWithoutASuggestion) {
  UnitBowl bowl;
  const auto result = bowl.test(hundred().start_lr(3).end_lr(10));
  EXPECT_EQ(result.status, LRRangeStatus::kDiverged);
  EXPECT_LT(result.lrs.size(), 10u);
  EXPECT_FALSE(result.has_suggestion());
  const auto text = test::message_of([&] { result.suggestion(); });
  EXPECT_NE(text.find("status diverged"), std::string::npos) << text;
  EXPECT_NE(text.find("lower start_lr"), std::string::npos) << text;
}

TEST(LRRangeEnd, ALossThatStaysHasNoDescent) {
  auto w = leaf({1});
  SGD optimizer({w}, SGDOptions(0.1));
  torch::manual_seed(3);
  const auto result = lr_range_test(
      {w},
      optimizer,
      [&] {
        auto loss = (w * 0 + torch::randn({1})).sum();
        loss.backward();
        return loss;
      },
      hundred());
  EXPECT_EQ(result.status, LRRangeStatus::kNoDescent);
  EXPECT_EQ(result.lrs.size(), 100u);
  const auto text = test::message_of([&] { result.suggestion(); });
  EXPECT_NE(text.find("status no descent"), std::string::npos) << text;
  EXPECT_NE(text.find("raise end_lr or num_iter"), std::string::npos) << text;
}

TEST(LRRangeEnd, ALossThatIsAlwaysTheSameHasNoDescent) {
  for (const auto type : {torch::kFloat, torch::kDouble, torch::kBFloat16}) {
    auto w = leaf({1}).to(type).detach().requires_grad_();
    SGD optimizer({w}, SGDOptions(0.1));
    const auto result = lr_range_test({w}, optimizer, [&] {
      auto loss = (w * 0).sum() + 2.1807734966278076;
      loss.backward();
      return loss;
    });
    EXPECT_EQ(result.status, LRRangeStatus::kNoDescent);
    EXPECT_FALSE(result.has_suggestion());
    EXPECT_EQ(
        result.reason,
        "all rates were tried; no rate changed the loss by more than rounding: "
        "raise end_lr, or look whether the loss depends on the parameters");
  }
}

TEST(LRRangeEnd, SaysThatTheFirstLossWasBadBeforeAnyUpdate) {
  auto w = leaf({kNaN});
  SGD optimizer({w}, SGDOptions(0.1));
  const auto result = lr_range_test({w}, optimizer, [&] {
    auto loss = w.square().sum();
    loss.backward();
    return loss;
  });
  EXPECT_EQ(result.status, LRRangeStatus::kNonFinite);
  EXPECT_EQ(
      result.reason,
      "the loss was nan, at rate 1e-07; that was before the first update: look "
      "at the parameters, the model and its data");
}

TEST(LRRangeEnd, StopsAtTheFirstLossThatIsNotFinite) {
  UnitBowl bowl;
  int calls = 0;
  const auto result = lr_range_test({bowl.w}, bowl.optimizer, [&] {
    return ++calls == 30 ? bowl() * kNaN : bowl();
  });
  EXPECT_EQ(result.status, LRRangeStatus::kNonFinite);
  EXPECT_EQ(result.lrs.size(), 30u);
  EXPECT_TRUE(std::isnan(result.losses.back()));
  EXPECT_EQ(result.reason.rfind("the loss was nan, at rate", 0), 0u);
}

// A test whose n-th loss is value(n), whatever the rate.
template <typename Value>
LRRangeTestResult with_losses(const Value& value) {
  auto w = leaf({1});
  SGD optimizer({w}, SGDOptions(0.1));
  int call = 0;
  return lr_range_test(
      {w},
      optimizer,
      [&] {
        auto loss = (w * 0).sum() + value(call++);
        loss.backward();
        return loss;
      },
      hundred());
}

TEST(LRRangeEnd, AStepUpStopsItBeforeTheAverageKnows) {
  const auto result = with_losses([](int n) {
    // Three wild ones are no step.
    if (n >= 30 && n < 33) return 2.0;
    return n < 60 ? 1 - n / 120.0 : 2.0;
  });
  EXPECT_EQ(result.status, LRRangeStatus::kDiverged);
  // With the fifth loss of 2 the middle one of nine is 2.
  EXPECT_EQ(result.lrs.size(), 65u);
  EXPECT_EQ(
      result.reason.rfind("the median of the last nine losses rose to 2, ", 0),
      0u)
      << result.reason;
}

TEST(LRRangeEnd, SaysInShortNumbersWhereItEnded) {
  const auto result = with_losses([](int n) { return n == 50 ? kNaN : 1.0; });
  // 10^(-7 + 8 * 50 / 99) = 0.00109698...
  EXPECT_EQ(
      result.reason,
      "the loss was nan, at rate 0.001097; no rate before had changed the loss "
      "by more than rounding: look whether it depends on the parameters");
}

TEST(LRRangeEnd, AFallAtTheFirstRatesAsksForALowerStart) {
  const auto result = with_losses([](int n) {
    const double level = 3 + 0.01 * std::sin(n);
    return n < 3 ? level : std::min(level, 1 + 0.15 * (n - 3));
  });
  EXPECT_EQ(result.status, LRRangeStatus::kFinished);
  EXPECT_FALSE(result.has_suggestion());
  EXPECT_NE(
      result.reason.find("lowest at the first rates: lower start_lr"),
      std::string::npos)
      << result.reason;
}

TEST(LRRangeEnd, SaysThatTheLossWasStillFalling) {
  UnitBowl bowl;
  const auto options = LRRangeTestOptions().start_lr(1e-4).end_lr(0.05);
  const auto result = bowl.test(options);
  EXPECT_EQ(result.status, LRRangeStatus::kFinished);
  EXPECT_TRUE(result.still_falling);
  EXPECT_TRUE(result.has_suggestion());
  EXPECT_EQ(
      result.reason,
      "all rates were tried; the loss was still falling at the largest: raise "
      "end_lr");
  auto stopped = options;
  stopped.progress([](int64_t i, double, double) { return i < 80; });
  EXPECT_TRUE(bowl.test(stopped).still_falling);
  // A divergence has shown what lies beyond.
  auto wide = options;
  EXPECT_FALSE(bowl.test(wide.end_lr(1e3)).still_falling);
  EXPECT_FALSE(with_losses([](int n) {
                 return 2 - std::exp(-(n - 50) * (n - 50) / 200.0);
               }).still_falling);
}

TEST(LRRangeEnd, TheCallbackMayStopIt) {
  UnitBowl bowl;
  const auto result = bowl.test(LRRangeTestOptions().progress(
      [](int64_t i, double, double) { return i < 9; }));
  EXPECT_EQ(result.status, LRRangeStatus::kStopped);
  EXPECT_EQ(result.lrs.size(), 10u);
}

// Finite losses, and from the 20th on a gradient of NaN: that of sqrt at 0.
template <typename Optimizer, typename Options>
LRRangeTestResult with_bad_gradients(const Options& options) {
  auto w = leaf({3, 4});
  Optimizer optimizer({w}, options);
  int calls = 0;
  const bool graph = options.traits().wants_graph();
  return lr_range_test(
      {w},
      optimizer,
      [&] {
        auto loss = w.square().sum() / 2;
        if (++calls >= 20) loss = loss + (w * 0).sqrt().sum();
        if (!graph) loss.backward();
        return loss;
      },
      LRRangeTestOptions().closure(
          graph ? LRClosure::kReturnsGraph : LRClosure::kCallsBackward));
}

TEST(LRRangeEnd, NoticesThatTheOptimizerSkips) {
  const auto clipped = with_bad_gradients<ClippedSGD>(ClippedSGDOptions(0.1));
  EXPECT_EQ(clipped.status, LRRangeStatus::kNonFinite);
  EXPECT_EQ(clipped.lrs.size(), 20u);
  EXPECT_TRUE(std::isfinite(clipped.losses.back()));
  const auto throwing = with_bad_gradients<ClippedAdamW>(
      ClippedAdamWOptions(0.1).non_finite(NonFiniteGradient::kThrow));
  EXPECT_EQ(throwing.status, LRRangeStatus::kNonFinite);
  EXPECT_EQ(throwing.lrs.size(), 20u);
  const auto rollback =
      with_bad_gradients<RollbackSGD>(RollbackSGDOptions(0.1));
  EXPECT_EQ(rollback.status, LRRangeStatus::kNonFinite);
  EXPECT_EQ(rollback.lrs.size(), 20u);
  const auto power =
      with_bad_gradients<PowerMethodSGD>(PowerMethodSGDOptions());
  EXPECT_EQ(power.status, LRRangeStatus::kNonFinite);
  const auto by_policy = with_bad_gradients<AutoSGD>(AutoSGDOptions());
  EXPECT_EQ(by_policy.status, LRRangeStatus::kNonFinite);
}

TEST(LRRangeEnd, ARollbackIsADivergence) {
  auto w = leaf({3, 4});
  RollbackSGD optimizer({w}, RollbackSGDOptions(0.1));
  const auto result = lr_range_test(
      {w},
      optimizer,
      [&] {
        optimizer.zero_grad();
        auto loss = w.square().sum() / 2;
        loss.backward();
        return loss;
      },
      LRRangeTestOptions().start_lr(0.01).end_lr(1e3));
  EXPECT_EQ(result.status, LRRangeStatus::kDiverged);
  EXPECT_EQ(result.reason.rfind("the optimizer took steps back", 0), 0u);
  EXPECT_EQ(optimizer.rollbacks(), 0);
}

}  // namespace
}  // namespace stepsize
