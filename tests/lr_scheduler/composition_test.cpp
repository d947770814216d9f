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
#include <string>
#include <vector>

#include "tests/lr_scheduler/support/spec.h"

namespace stepsize::test {
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

TEST(MultiplicativeLR, ALookAheadDoesNotMakeAStepDear) {
  const auto calls = std::make_shared<int>(0);
  const auto optimizer = make_optimizer("SGD", {0.1});
  MultiplicativeLR scheduler(
      *optimizer, MultiplicativeLROptions([calls](double) {
        ++*calls;
        return 0.99;
      }));
  for (int i = 0; i < 100; ++i) scheduler.step();
  for (const int64_t t : {500, 0, 150, 40}) (void)scheduler.lr_at(t);
  *calls = 0;
  scheduler.step();
  EXPECT_EQ(*calls, 1);
  EXPECT_NEAR(lrs_of(*optimizer)[0], 0.1 * std::pow(0.99, 101), 1e-14);
}

TEST(LambdaLR, AnOverflowIsRefusedWithGroupTimeAndValue) {
  const auto optimizer = make_optimizer("SGD", {0.0, 10.0});
  LambdaLR scheduler(*optimizer, LambdaLROptions([](double t) {
    return t < 2000 ? 1.0 : 1e308;
  }));
  try {
    scheduler.seek(2000);
    FAIL() << "no error";
  } catch (const c10::Error& error) {
    EXPECT_EQ(
        std::string(error.what_without_backtrace()),
        "LambdaLR: the rate of parameter group 1 at t = 2000 must be "
        "finite and >= 0, got inf");
  }
  EXPECT_EQ(scheduler.last_epoch(), 0);
  EXPECT_EQ(lrs_of(*optimizer), Rates({0.0, 10.0}));
  ExponentialLR exponential(*optimizer, ExponentialLROptions(2));
  EXPECT_ANY_THROW(exponential.seek(2000));
  EXPECT_EQ(lrs_of(*optimizer), Rates({0.0, 10.0}));
}

TEST(CyclicLR, RefusesRatesAndMomentaOutOfRange) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  const auto message = [&](const CyclicLROptions& options) -> std::string {
    CyclicLR scheduler(*optimizer, options);
    const Rates lrs = lrs_of(*optimizer);
    const Rates momenta = momenta_of(*optimizer);
    try {
      scheduler.seek(4);
    } catch (const c10::Error& error) {
      EXPECT_EQ(lrs_of(*optimizer), lrs);
      EXPECT_EQ(momenta_of(*optimizer), momenta);
      return error.what_without_backtrace();
    }
    return "no error";
  };
  const auto twenty = [](double) { return 20.0; };
  const auto options = [&](double base_lr, double max_lr) {
    return CyclicLROptions(base_lr, max_lr).step_size_up(4).scale_fn(twenty);
  };
  EXPECT_EQ(
      message(options(0.5, 0.25)),
      "CyclicLR: the rate of parameter group 0 at t = 4 must be finite and >= "
      "0, got -4.5");
  EXPECT_EQ(
      message(options(0.1, 1.0).base_momentum(0.25).max_momentum(0.5)),
      "CyclicLR: the momentum of parameter group 0 at t = 4 must be in [0, 1), "
      "got -4.5");
  // Twenty times the height is fine with Python and here.
  EXPECT_EQ(message(options(0.1, 1.0).cycle_momentum(false)), "no error");
  EXPECT_DOUBLE_EQ(lrs_of(*optimizer)[0], 0.1 + 0.9 * 20);
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
}  // namespace stepsize::test
