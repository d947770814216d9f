// Single facts of single classes, those where Python is wrong among them.

#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/constant_lr.h>
#include <stepsize/lr_scheduler/cosine_annealing_lr.h>
#include <stepsize/lr_scheduler/cosine_annealing_warm_restarts.h>
#include <stepsize/lr_scheduler/cyclic_lr.h>
#include <stepsize/lr_scheduler/linear_lr.h>
#include <stepsize/lr_scheduler/multi_step_lr.h>
#include <stepsize/lr_scheduler/one_cycle_lr.h>
#include <stepsize/lr_scheduler/polynomial_lr.h>
#include <stepsize/lr_scheduler/reduce_lr_on_plateau.h>
#include <stepsize/lr_scheduler/step_lr.h>
#include <stepsize/lr_scheduler/swa_lr.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "tests/lr_scheduler/support/spec.h"

namespace stepsize::test {
namespace {

using Rates = std::vector<double>;

TEST(StepLR, DecaysAtTheStepItself) {
  const auto optimizer = make_optimizer("SGD", {1.0});
  StepLR scheduler(*optimizer, StepLROptions(3).gamma(0.5));
  Rates rates = lrs_of(*optimizer);
  for (int i = 0; i < 6; ++i) {
    scheduler.step();
    rates.push_back(lrs_of(*optimizer)[0]);
  }
  EXPECT_EQ(rates, Rates({1, 1, 1, 0.5, 0.5, 0.5, 0.25}));
}

TEST(StepLR, RefusesAnOptimizerThatHasLostAGroup) {
  const auto optimizer = make_optimizer("SGD", {1.0, 2.0});
  StepLR scheduler(*optimizer, StepLROptions(1));
  optimizer->param_groups().pop_back();
  EXPECT_THROW(scheduler.step(), c10::Error);
  EXPECT_EQ(scheduler.last_epoch(), 0);
  EXPECT_EQ(lrs_of(*optimizer), Rates({1.0}));
}

TEST(MultiStepLR, MilestonesOfAnExtendedRunFallOnTheirSteps) {
  // Stretched k times, what was at step 1 + i is at step 1 + i k: not one
  // later, though (1.0 / 49) * 49 is less than 1.
  const auto optimizer = make_optimizer("SGD", {1.0});
  for (int64_t last = 2; last <= 60; ++last) {
    for (int64_t milestone = 2; milestone <= last; ++milestone) {
      MultiStepLR scheduler(
          *optimizer, MultiStepLROptions({milestone, last}).gamma(0.5));
      const int64_t k = 3 + milestone % 5;
      scheduler.step();
      scheduler.extend(1 + (last - 1) * k);
      const int64_t passed = 1 + (milestone - 1) * k;
      ASSERT_EQ(scheduler.lr_at(passed - 1)[0], 1.0) << milestone << last;
      ASSERT_LE(scheduler.lr_at(passed)[0], 0.5) << milestone << last;
      scheduler.seek(0);
    }
  }
}

TEST(LinearLR, MayStartAtZero) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  LinearLR scheduler(
      *optimizer, LinearLROptions().start_factor(0).total_iters(4));
  EXPECT_EQ(lrs_of(*optimizer)[0], 0.0);
  scheduler.step();
  EXPECT_DOUBLE_EQ(lrs_of(*optimizer)[0], 0.025);
  scheduler.seek(4);
  EXPECT_EQ(lrs_of(*optimizer)[0], 0.1);
}

TEST(ConstantLR, FactorMayBeZero) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  ConstantLR scheduler(*optimizer, ConstantLROptions().factor(0));
  EXPECT_EQ(lrs_of(*optimizer)[0], 0.0);
  scheduler.seek(4);
  EXPECT_EQ(lrs_of(*optimizer)[0], 0.0);
  scheduler.step();
  EXPECT_EQ(lrs_of(*optimizer)[0], 0.1);
}

TEST(Ramps, OfNoStepsAreAtTheirEndAtOnce) {
  const auto rate = [](const LRRule& rule) {
    return rule({0, 0.1, false}, 0.0).lr;
  };
  EXPECT_EQ(rate(LinearLROptions().total_iters(0)), 0.1);
  EXPECT_EQ(rate(ConstantLROptions().total_iters(0)), 0.1);
  EXPECT_EQ(rate(PolynomialLROptions().total_iters(0)), 0.0);
  EXPECT_EQ(rate(SWALROptions(0.5).anneal_epochs(0)), 0.5);
}

TEST(OneCycleLR, PeakMayStandAtTheFirstStep) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  OneCycleLR scheduler(
      *optimizer, OneCycleLROptions(2.0).total_steps(10).pct_start(0.1));
  EXPECT_EQ(lrs_of(*optimizer)[0], 2.0);
  EXPECT_EQ(momenta_of(*optimizer)[0], 0.85);
  scheduler.seek(9);
  EXPECT_DOUBLE_EQ(lrs_of(*optimizer)[0], 2.0 / 25 / 1e4);
  EXPECT_EQ(momenta_of(*optimizer)[0], 0.95);
}

TEST(OneCycleLR, HoldsItsLastRate) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  for (const double pct : {0.0, 0.3, 1.0}) {
    OneCycleLR scheduler(
        *optimizer, OneCycleLROptions(2.0).total_steps(10).pct_start(pct));
    EXPECT_EQ(scheduler.lr_at(10), scheduler.lr_at(9));
    EXPECT_EQ(scheduler.lr_at(1000), scheduler.lr_at(9));
  }
}

TEST(ExtendedLength, DrawsWhatIsLeftAsTheRun) {
  // With the run, in the middle of it and beyond it.
  EXPECT_EQ(extended_length(100, 40, 100, 160), 160);
  EXPECT_EQ(extended_length(70, 40, 100, 160), 100);
  EXPECT_EQ(extended_length(130, 40, 100, 160), 220);
  // Squeezed, to a whole step.
  EXPECT_EQ(extended_length(100, 40, 100, 70), 70);
  EXPECT_EQ(extended_length(75, 40, 100, 45), 43);
  EXPECT_EQ(extended_length(41, 40, 100, 45), 41);
  // Nothing is left of the schedule, or of the run.
  EXPECT_EQ(extended_length(40, 40, 100, 160), 40);
  EXPECT_EQ(extended_length(130, 100, 100, 160), 130);
  constexpr double kNever = std::numeric_limits<double>::infinity();
  EXPECT_EQ(extended_length(kNever, 40, 100, 160), kNever);
  EXPECT_EQ(extended_length(kNever, 40, 100, 40), kNever);
  EXPECT_THROW(extended_length(100, -1, 100, 160), c10::Error);
  EXPECT_THROW(extended_length(100, 40, 100, 39), c10::Error);
}

TEST(OneCycleLR, ExtendSetsTotalSteps) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  OneCycleLR scheduler(*optimizer, OneCycleLROptions(2.0).total_steps(10));
  scheduler.seek(5);
  const Rates last = scheduler.lr_at(9);
  EXPECT_THROW(scheduler.extend(6), c10::Error);
  scheduler.extend(20);
  EXPECT_GT(scheduler.lr_at(18)[0], last[0]);
  EXPECT_EQ(scheduler.lr_at(19), last);
}

TEST(CosineAnnealingLR, HoldsTheFloorPastItsEnd) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  CosineAnnealingLR scheduler(
      *optimizer, CosineAnnealingLROptions(10).eta_min(0.02));
  scheduler.seek(9);
  EXPECT_GT(lrs_of(*optimizer)[0], 0.02);
  for (int t = 10; t < 40; ++t) {
    scheduler.step();
    EXPECT_EQ(lrs_of(*optimizer)[0], 0.02);
  }
}

TEST(CosineAnnealingWarmRestarts, RestartsOnTheExactStep) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  CosineAnnealingWarmRestarts scheduler(
      *optimizer, CosineAnnealingWarmRestartsOptions(1).T_mult(3));
  int64_t restart = 0;
  for (int64_t length = 1; length < 1000000; length *= 3) {
    EXPECT_EQ(scheduler.lr_at(restart)[0], 0.1) << restart;
    EXPECT_LT(
        scheduler.lr_at(restart + length - 1)[0], length > 1 ? 0.03 : 0.2);
    restart += length;
  }
}

TEST(CyclicLR, AGroupAddedLaterKeepsTheRatio) {
  const auto optimizer = make_optimizer("SGD", {0.5, 0.5});
  CyclicLR scheduler(
      *optimizer, CyclicLROptions(0.1, {1.0, 0.4}).step_size_up(4));
  add_group(*optimizer, "SGD", 0.02);
  scheduler.seek(4);
  EXPECT_EQ(lrs_of(*optimizer)[0], 1.0);
  EXPECT_EQ(lrs_of(*optimizer)[1], 0.4);
  EXPECT_DOUBLE_EQ(lrs_of(*optimizer)[2], 0.08);
  scheduler.seek(8);
  EXPECT_EQ(lrs_of(*optimizer), Rates({0.1, 0.1, 0.02}));
}

TEST(OneCycleLR, AGroupAddedLaterHasItsRateForItsPeak) {
  const auto optimizer = make_optimizer("SGD", {0.5});
  OneCycleLR scheduler(
      *optimizer, OneCycleLROptions(2.0).total_steps(10).pct_start(0.5));
  add_group(*optimizer, "SGD", 0.02);
  scheduler.seek(4);
  EXPECT_EQ(lrs_of(*optimizer), Rates({2.0, 0.02}));
}

TEST(SWALR, StartsFromTheRateOfItsFirstStep) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  SWALR scheduler(
      *optimizer,
      SWALROptions(0.5).anneal_epochs(4).anneal_strategy(
          AnnealStrategy::kLinear));
  EXPECT_EQ(lrs_of(*optimizer)[0], 0.1);
  optimizer->param_groups()[0].options().set_lr(0.9);
  scheduler.step();
  EXPECT_DOUBLE_EQ(lrs_of(*optimizer)[0], 0.8);
  EXPECT_EQ(scheduler.base_lrs()[0], 0.9);
  optimizer->param_groups()[0].options().set_lr(7.0);
  scheduler.step();
  EXPECT_DOUBLE_EQ(lrs_of(*optimizer)[0], 0.7);
  // The start is found once: going back does not lose it.
  scheduler.seek(0);
  EXPECT_EQ(lrs_of(*optimizer)[0], 0.9);
  optimizer->param_groups()[0].options().set_lr(7.0);
  scheduler.step();
  EXPECT_DOUBLE_EQ(lrs_of(*optimizer)[0], 0.8);
}

TEST(ReduceLROnPlateau, AStepWithoutAMetricKeepsTheRate) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  ReduceLROnPlateau scheduler(
      *optimizer, ReduceLROnPlateauOptions().patience(0));
  scheduler.step(1.0);
  torch::optim::LRScheduler& base = scheduler;
  for (int i = 0; i < 5; ++i) base.step();
  EXPECT_EQ(lrs_of(*optimizer)[0], 0.1);
  EXPECT_EQ(scheduler.num_bad_epochs(), 0);
  scheduler.step(2.0);
  EXPECT_EQ(lrs_of(*optimizer)[0], 0.1 * 0.1);
  EXPECT_EQ(scheduler.last_epoch(), 7);
}

ReduceLROnPlateauOptions no_patience() {
  return ReduceLROnPlateauOptions().patience(0);
}

// The rate, from .1, after these metrics.
double rate_after(
    const Rates& metrics, const ReduceLROnPlateauOptions& options) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  ReduceLROnPlateau scheduler(*optimizer, options);
  for (const double metric : metrics) scheduler.step(metric);
  return lrs_of(*optimizer)[0];
}

TEST(ReduceLROnPlateau, ARelativeThresholdTakesTheSizeOfANegativeBest) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  ReduceLROnPlateau scheduler(*optimizer, no_patience());
  scheduler.step(-1.0);
  scheduler.step(-0.99995);
  EXPECT_DOUBLE_EQ(lrs_of(*optimizer)[0], 0.01);
  EXPECT_EQ(scheduler.best(), -1.0);
  // 1e-4 of the best is what it takes.
  scheduler.step(-1.00009);
  EXPECT_EQ(scheduler.best(), -1.0);
  scheduler.step(-1.00011);
  EXPECT_EQ(scheduler.best(), -1.00011);
}

TEST(ReduceLROnPlateau, AFlatMetricIsCutWhateverItsSign) {
  for (const MetricMode mode : {MetricMode::kMin, MetricMode::kMax}) {
    for (const double metric : {1.0, -1.0, 0.0, -0.0, 1e-300, -1e300}) {
      const Rates flat(3, metric);
      EXPECT_DOUBLE_EQ(rate_after(flat, no_patience().mode(mode)), 0.001)
          << metric;
    }
  }
}

TEST(ReduceLROnPlateau, ASlowRiseBelowZeroIsAPlateau) {
  Rates metrics;
  for (int i = 0; i <= 4000; ++i) metrics.push_back(-1 + 0.2 * i / 4000);
  // Every step cuts, until a cut is smaller than eps.
  EXPECT_LT(rate_after(metrics, no_patience()), 1.2e-8);
  const auto python = no_patience().threshold_mode(ThresholdMode::kPythonRel);
  EXPECT_EQ(rate_after(metrics, python), 0.1);
}

TEST(ReduceLROnPlateau, MaxModeMirrorsMinMode) {
  const Rates metrics = {
      -1, -0.95, -0.4, 0.02, 0, 0.1, 0.105, 0.2, 0.19, -3, 0.21, 0.3, 0.31};
  Rates mirrored;
  for (const double metric : metrics) mirrored.push_back(-metric);
  for (const double threshold : {0.0, 0.05, 0.5}) {
    auto options = no_patience().factor(0.5).threshold(threshold);
    const double min = rate_after(mirrored, options);
    EXPECT_EQ(rate_after(metrics, options.mode(MetricMode::kMax)), min);
    EXPECT_LT(min, 0.1);
  }
}

TEST(ReduceLROnPlateau, FromAnInfiniteBestAnyFiniteMetricImproves) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const auto mode : {ThresholdMode::kRel, ThresholdMode::kAbs}) {
    // A threshold of 1 and more is for kMax.
    auto options = no_patience().threshold(1).threshold_mode(mode);
    options.mode(MetricMode::kMax);
    const auto optimizer = make_optimizer("SGD", {0.1});
    ReduceLROnPlateau scheduler(*optimizer, options);
    for (const double worthless : {std::nan(""), -kInfinity}) {
      scheduler.step(worthless);
      EXPECT_EQ(scheduler.best(), -kInfinity);
    }
    scheduler.step(-5.0);
    EXPECT_EQ(scheduler.best(), -5.0);
    // -5 + 1 |-5| = 0, or -5 + 1.
    scheduler.step(-4.5);
    EXPECT_EQ(scheduler.best(), -5.0);
    scheduler.step(std::nan(""));
    EXPECT_EQ(scheduler.best(), -5.0);
    scheduler.step(0.5);
    EXPECT_EQ(scheduler.best(), 0.5);
  }
}

TEST(ReduceLROnPlateau, CutsAGroupAddedLater) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  ReduceLROnPlateau scheduler(
      *optimizer, ReduceLROnPlateauOptions().patience(0).min_lr({0.02}));
  scheduler.step(1.0);
  add_group(*optimizer, "SGD", 1.0);
  scheduler.step(2.0);
  EXPECT_EQ(lrs_of(*optimizer), Rates({0.02, 1.0 * 0.1}));
  EXPECT_EQ(scheduler.get_last_lr(), lrs_of(*optimizer));
}

}  // namespace
}  // namespace stepsize::test
