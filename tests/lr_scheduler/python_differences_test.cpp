// Our side of the rows in docs/lr_scheduler.md, "How we differ from Python", by
// the inputs of scripts/python_differences.py. What other files here test is
// not repeated.

#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/chained_scheduler.h>
#include <stepsize/lr_scheduler/constant_lr.h>
#include <stepsize/lr_scheduler/cosine_annealing_lr.h>
#include <stepsize/lr_scheduler/cosine_annealing_warm_restarts.h>
#include <stepsize/lr_scheduler/cyclic_lr.h>
#include <stepsize/lr_scheduler/exponential_lr.h>
#include <stepsize/lr_scheduler/lambda_lr.h>
#include <stepsize/lr_scheduler/linear_lr.h>
#include <stepsize/lr_scheduler/multi_step_lr.h>
#include <stepsize/lr_scheduler/multiplicative_lr.h>
#include <stepsize/lr_scheduler/one_cycle_lr.h>
#include <stepsize/lr_scheduler/polynomial_lr.h>
#include <stepsize/lr_scheduler/sequential_lr.h>
#include <stepsize/lr_scheduler/step_lr.h>
#include <stepsize/lr_scheduler/swa_lr.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "tests/lr_scheduler/support/spec.h"
#include "tests/support/archive_bytes.h"

namespace stepsize::test {
namespace {

using Rates = std::vector<double>;

double power_of_nine_tenths(double t) { return std::pow(0.9, t); }
double nine_tenths(double) { return 0.9; }

// The rates in force, as long as there are expected ones; a step between each.
void expect_rates(
    torch::optim::LRScheduler& scheduler,
    const torch::optim::Optimizer& optimizer,
    const Rates& expected,
    std::size_t group = 0) {
  for (std::size_t t = 0; t < expected.size(); ++t) {
    if (t > 0) scheduler.step();
    EXPECT_NEAR(lrs_of(optimizer)[group], expected[t], 5e-5) << "t = " << t;
  }
}

template <typename Scheduler, typename Options>
void expect_run(const Options& options, const Rates& expected) {
  const auto optimizer = make_optimizer("SGD", {1.0});
  Scheduler scheduler(*optimizer, options);
  expect_rates(scheduler, *optimizer, expected);
}

TEST(PythonDifferences, OneCycleStaysAtItsLastRate) {
  expect_run<OneCycleLR>(
      OneCycleLROptions(1.0).total_steps(10),
      {0.04,
       0.52,
       1.0,
       0.95048,
       0.81175,
       0.61126,
       0.38874,
       0.18826,
       0.049519,
       4e-06,
       4e-06,
       4e-06});
  const auto optimizer = make_optimizer("SGD", {1.0});
  OneCycleLR one_step(*optimizer, OneCycleLROptions(1.0).total_steps(1));
  for (int t = 0; t < 4; ++t) {
    EXPECT_DOUBLE_EQ(lrs_of(*optimizer)[0], 4e-6) << t;
    one_step.step();
  }
}

TEST(PythonDifferences, AWriteFromOutsideIsGoneAtTheNextStep) {
  const auto optimizer = make_optimizer("SGD", {1.0});
  StepLR scheduler(*optimizer, StepLROptions(3).gamma(0.5));
  scheduler.step();
  optimizer->param_groups()[0].options().set_lr(0.2);
  scheduler.step();
  expect_rates(scheduler, *optimizer, {1.0, 0.5});
}

TEST(PythonDifferences, ASecondSchedulerTakesTheRateInForce) {
  const auto optimizer = make_optimizer("SGD", {1.0});
  const LinearLR first(*optimizer, LinearLROptions().start_factor(0.1));
  const StepLR second(*optimizer, StepLROptions(3));
  EXPECT_EQ(second.base_lrs(), Rates({0.1}));
}

TEST(PythonDifferences, ASequencesPartsBeginWithTheBaseRate) {
  expect_run<SequentialLR>(
      SequentialLROptions(
          {ConstantLROptions().factor(0.1).total_iters(10),
           ExponentialLROptions(0.9)},
          {0}),
      {1.0, 0.9, 0.81, 0.729});
  expect_run<SequentialLR>(
      SequentialLROptions(
          {ConstantLROptions().factor(0.1).total_iters(2),
           MultiplicativeLROptions(nine_tenths)},
          {2}),
      {0.1, 0.1, 1.0, 0.9});
  expect_run<SequentialLR>(
      SequentialLROptions(
          {CyclicLROptions(0.01, 0.1).step_size_up(2),
           ExponentialLROptions(0.5)},
          {2}),
      {0.01, 0.055, 1.0, 0.5, 0.25});
}

TEST(PythonDifferences, BeforeItsFirstCycleASequenceKeepsTheMomentum) {
  const CyclicLROptions cyclic = CyclicLROptions(0.1, 1.0).step_size_up(2);
  const OneCycleLROptions one_cycle = OneCycleLROptions(1.0).total_steps(10);
  for (const LRRule& cycle : {LRRule(cyclic), LRRule(one_cycle)}) {
    const auto optimizer = make_optimizer("SGD", {1.0});
    SequentialLR scheduler(
        *optimizer,
        SequentialLROptions(
            {ConstantLROptions().factor(0.5).total_iters(3), cycle}, {3}));
    for (int t = 0; t < 3; ++t) {
      EXPECT_EQ(momenta_of(*optimizer)[0], 0.5) << t;
      scheduler.step();
    }
    EXPECT_GE(momenta_of(*optimizer)[0], 0.9);
  }
}

TEST(PythonDifferences, AChainActsOnTheRateOfTheOneBefore) {
  const LRRule half = ConstantLROptions().factor(0.5).total_iters(9);
  expect_run<ChainedScheduler>(
      ChainedSchedulerOptions({half, LambdaLROptions(power_of_nine_tenths)}),
      {0.5, 0.45, 0.405});
  expect_run<ChainedScheduler>(
      ChainedSchedulerOptions({half, CosineAnnealingWarmRestartsOptions(10)}),
      {0.5, 0.48776, 0.45225});
  // 0.1 + (0.5^t - 0.1) (1 + cos(pi t / 4)) / 2
  expect_run<ChainedScheduler>(
      ChainedSchedulerOptions(
          {ExponentialLROptions(0.5),
           CosineAnnealingLROptions(4).eta_min(0.1)}),
      {1.0, 0.44142, 0.175, 0.10366, 0.1});
}

TEST(PythonDifferences, SequencesAndChainsNest) {
  const LRRule once = ConstantLROptions().factor(1.0);
  expect_run<ChainedScheduler>(
      ChainedSchedulerOptions(
          {ExponentialLROptions(0.9), SequentialLROptions({once, once}, {3})}),
      {1.0, 0.9, 0.81, 0.729, 0.6561});
  const LRRule chain = ChainedSchedulerOptions(
      {ExponentialLROptions(0.9), ConstantLROptions().factor(0.5)});
  // Halved for its first five steps.
  expect_run<SequentialLR>(
      SequentialLROptions({once, chain}, {3}),
      {1.0, 1.0, 1.0, 0.5, 0.45, 0.405, 0.3645, 0.32805, 0.59049});
}

// Adds a group of .5 after the scheduler was made and follows it.
template <typename Scheduler, typename Options>
void expect_added(const Options& options, const Rates& expected) {
  const auto optimizer = make_optimizer("SGD", {1.0});
  Scheduler scheduler(*optimizer, options);
  add_group(*optimizer, "SGD", 0.5);
  expect_rates(scheduler, *optimizer, expected, 1);
}

TEST(PythonDifferences, AGroupAddedLaterJoinsWithItsRateForItsBase) {
  expect_added<LinearLR>(
      LinearLROptions().total_iters(4),
      {0.5, 0.25, 0.33333, 0.41667, 0.5, 0.5});
  expect_added<ConstantLR>(
      ConstantLROptions().factor(0.5).total_iters(4),
      {0.5, 0.25, 0.25, 0.25, 0.5});
  expect_added<LambdaLR>(
      LambdaLROptions(power_of_nine_tenths), {0.5, 0.45, 0.405});
  expect_added<MultiplicativeLR>(
      MultiplicativeLROptions(nine_tenths), {0.5, 0.45, 0.405});
  // From its foot, .5, towards ten times that.
  expect_added<CyclicLR>(
      CyclicLROptions(0.1, 1.0).step_size_up(4),
      {0.5, 1.625, 2.75, 3.875, 5.0});
  expect_added<CosineAnnealingWarmRestarts>(
      CosineAnnealingWarmRestartsOptions(5), {0.5, 0.45225, 0.32725});
  // As a peak of 1 has it, times .5.
  expect_added<OneCycleLR>(
      OneCycleLROptions(1.0).total_steps(10), {0.5, 0.26, 0.5, 0.47524});
  expect_added<SWALR>(
      SWALROptions(0.1).anneal_epochs(4).anneal_strategy(
          AnnealStrategy::kLinear),
      {0.5, 0.4, 0.3, 0.2, 0.1});
}

// seek(3) gives the rates of t = 3, 4, ...
template <typename Scheduler, typename Options>
void expect_after_seek(const Options& options, const Rates& expected) {
  const auto optimizer = make_optimizer("SGD", {1.0});
  Scheduler scheduler(*optimizer, options);
  scheduler.seek(3);
  EXPECT_EQ(scheduler.last_epoch(), 3);
  expect_rates(scheduler, *optimizer, expected);
}

TEST(PythonDifferences, SeekGoesOnAtTheTimeThatItNames) {
  expect_after_seek<StepLR>(
      StepLROptions(2).gamma(0.5), {0.5, 0.25, 0.25, 0.125});
  expect_after_seek<MultiStepLR>(
      MultiStepLROptions({2, 5}).gamma(0.5), {0.5, 0.5, 0.25});
  expect_after_seek<ConstantLR>(
      ConstantLROptions().factor(0.5).total_iters(4), {0.5, 1.0, 1.0});
  expect_after_seek<LambdaLR>(
      LambdaLROptions(power_of_nine_tenths), {0.729, 0.6561, 0.59049});
  expect_after_seek<CosineAnnealingWarmRestarts>(
      CosineAnnealingWarmRestartsOptions(5), {0.34549, 0.095492, 1.0});
  expect_after_seek<ExponentialLR>(
      ExponentialLROptions(0.9), {0.729, 0.6561, 0.59049});
  expect_after_seek<MultiplicativeLR>(
      MultiplicativeLROptions(nine_tenths), {0.729, 0.6561, 0.59049});
  expect_after_seek<LinearLR>(
      LinearLROptions().start_factor(0.1).total_iters(5),
      {0.64, 0.82, 1.0, 1.0});
  expect_after_seek<PolynomialLR>(
      PolynomialLROptions().total_iters(6), {0.5, 0.33333, 0.16667, 0.0});
  expect_after_seek<CosineAnnealingLR>(
      CosineAnnealingLROptions(8), {0.69134, 0.5, 0.30866});
  expect_after_seek<SequentialLR>(
      SequentialLROptions(
          {ConstantLROptions().factor(0.1).total_iters(2),
           ExponentialLROptions(0.9)},
          {2}),
      {0.9, 0.81, 0.729});
}

TEST(PythonDifferences, ASchedulersStateSetsTheRateWithoutTheOptimizers) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  StepLR scheduler(*optimizer, StepLROptions(2));
  for (int i = 0; i < 3; ++i) scheduler.step();
  const auto other = make_optimizer("SGD", {0.1});
  StepLR loaded(*other, StepLROptions(2));
  load(loaded, saved(scheduler));
  EXPECT_DOUBLE_EQ(lrs_of(*other)[0], 0.01);
  loaded.step();
  EXPECT_DOUBLE_EQ(lrs_of(*other)[0], 0.001);
}

}  // namespace
}  // namespace stepsize::test
