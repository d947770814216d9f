// Schedulers made of others, and those that call functions of the user.

#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/chained_scheduler.h>
#include <stepsize/lr_scheduler/constant_lr.h>
#include <stepsize/lr_scheduler/cosine_annealing_lr.h>
#include <stepsize/lr_scheduler/cyclic_lr.h>
#include <stepsize/lr_scheduler/exponential_lr.h>
#include <stepsize/lr_scheduler/lambda_lr.h>
#include <stepsize/lr_scheduler/multiplicative_lr.h>
#include <stepsize/lr_scheduler/sequential_lr.h>
#include <stepsize/lr_scheduler/step_lr.h>
#include <stepsize/schedule/ramp.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <vector>

#include "tests/lr_scheduler/support/spec.h"

namespace stepsize {
namespace test {
namespace {

using Rates = std::vector<double>;

TEST(SequentialLR, AMilestoneAtZeroSkipsTheFirst) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  SequentialLR scheduler(
      *optimizer,
      SequentialLROptions({StepLROptions(1), ExponentialLROptions(0.5)}, {0}));
  EXPECT_EQ(lrs_of(*optimizer)[0], 0.1);
  scheduler.step();
  EXPECT_EQ(lrs_of(*optimizer)[0], 0.05);
}

TEST(SequentialLR, TakesSchedulesAndNests) {
  const SequentialLROptions inner(
      {linear(2, 0.5, 1.0), ExponentialLROptions(0.5)}, {2});
  const auto optimizer = make_optimizer("SGD", {1.0});
  SequentialLR scheduler(
      *optimizer, SequentialLROptions({ConstantLROptions(), inner}, {3}));
  Rates rates;
  for (int t = 0; t < 8; ++t) rates.push_back(scheduler.lr_at(t)[0]);
  const double third = 1.0 / 3;
  EXPECT_EQ(rates, Rates({third, third, third, 0.5, 0.75, 1.0, 0.5, 0.25}));
}

TEST(ChainedScheduler, TheRateOfOneIsTheBaseOfTheNext) {
  const auto optimizer = make_optimizer("SGD", {1.0});
  ChainedScheduler scheduler(
      *optimizer,
      ChainedSchedulerOptions(
          {ExponentialLROptions(0.5),
           CosineAnnealingLROptions(2).eta_min(0.1),
           StepLROptions(1).gamma(0.5)}));
  // t = 1: 0.5, then half way from there to 0.1, then halved.
  EXPECT_DOUBLE_EQ(scheduler.lr_at(1)[0], 0.15);
  EXPECT_DOUBLE_EQ(scheduler.lr_at(2)[0], 0.025);
}

TEST(LambdaLR, AFunctionThatThrowsChangesNothing) {
  const auto optimizer = make_optimizer("SGD", {0.1, 0.2});
  const auto fine = [](double) { return 0.5; };
  const auto fails = [](int64_t epoch) {
    if (epoch == 3) throw std::runtime_error("at 3");
    return 0.25;
  };
  LambdaLR scheduler(*optimizer, LambdaLROptions({fine, fails}));
  scheduler.seek(2);
  EXPECT_THROW(scheduler.step(), std::runtime_error);
  EXPECT_THROW(scheduler.seek(3), std::runtime_error);
  EXPECT_EQ(scheduler.last_epoch(), 2);
  EXPECT_EQ(lrs_of(*optimizer), Rates({0.05, 0.05}));
  EXPECT_EQ(scheduler.get_last_lr(), Rates({0.05, 0.05}));
  scheduler.seek(4);
  EXPECT_EQ(scheduler.last_epoch(), 4);
}

TEST(LambdaLR, RefusesWhatIsNoFactor) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  for (const double bad : {-1.0, std::nan("")}) {
    LambdaLR scheduler(*optimizer, LambdaLROptions([bad](double t) {
      return t == 1 ? bad : 1.0;
    }));
    EXPECT_THROW(scheduler.step(), c10::Error);
    EXPECT_EQ(scheduler.last_epoch(), 0);
  }
  EXPECT_EQ(lrs_of(*optimizer)[0], 0.1);
}

TEST(MultiplicativeLR, CallsTheFunctionOnceAStep) {
  const auto calls = std::make_shared<int>(0);
  const auto optimizer = make_optimizer("SGD", {0.1, 0.2});
  MultiplicativeLR scheduler(
      *optimizer, MultiplicativeLROptions([calls](double) {
        ++*calls;
        return 0.99;
      }));
  for (int i = 0; i < 1000; ++i) scheduler.step();
  EXPECT_EQ(*calls, 1000);
}

TEST(CyclicLR, RefusesAScaleThatIsNone) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  CyclicLR scheduler(
      *optimizer,
      CyclicLROptions(0.1, 1.0).step_size_up(2).scale_fn(
          [](double cycle) { return cycle < 2 ? 1.0 : -1.0; }));
  scheduler.seek(3);
  EXPECT_THROW(scheduler.step(), c10::Error);
  EXPECT_EQ(scheduler.last_epoch(), 3);
}

}  // namespace
}  // namespace test
}  // namespace stepsize
