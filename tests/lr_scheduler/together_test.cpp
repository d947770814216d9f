// Several schedulers on one optimizer, and writes from outside.

#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/linear_lr.h>
#include <stepsize/lr_scheduler/one_cycle_lr.h>
#include <stepsize/lr_scheduler/reduce_lr_on_plateau.h>
#include <stepsize/lr_scheduler/step_lr.h>
#include <stepsize/lr_scheduler/swa_lr.h>
#include <stepsize/lr_scheduler/warmup_stable_decay_lr.h>
#include <torch/torch.h>

#include <cstddef>
#include <sstream>
#include <string>
#include <vector>

#include "tests/lr_scheduler/support/spec.h"
#include "tests/support/archive_bytes.h"

namespace stepsize::test {
namespace {

using Rates = std::vector<double>;

TEST(Together, APlateauCutsOnAfterAWarmup) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  LinearLR warmup(*optimizer, LinearLROptions().total_iters(2));
  ReduceLROnPlateau plateau(*optimizer, ReduceLROnPlateauOptions().patience(0));
  // Printed by torch 1.13.1: LinearLR(optimizer, 1/3, total_iters=2) and
  // ReduceLROnPlateau(optimizer, patience=0), stepped in this order.
  const Rates python = {
      0.06666666666666667,
      0.1,
      0.010000000000000002,
      0.0010000000000000002,
      0.0010000000000000002,
      0.00010000000000000003};
  const Rates metrics = {3, 2, 2, 2, 1, 1.5};
  for (std::size_t i = 0; i < metrics.size(); ++i) {
    warmup.step();
    plateau.step(metrics[i]);
    EXPECT_DOUBLE_EQ(lrs_of(*optimizer)[0], python[i]) << i;
  }
  EXPECT_EQ(warmup.last_epoch(), 6);
}

TEST(Together, ARuleThatHasEndedLeavesRatesAndMomentaAlone) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  OneCycleLR scheduler(*optimizer, OneCycleLROptions(0.5).total_steps(6));
  for (int i = 0; i < 4; ++i) scheduler.step();
  auto& options = dynamic_cast<torch::optim::SGDOptions&>(
      optimizer->param_groups()[0].options());
  options.lr(7.0);
  scheduler.step();
  EXPECT_EQ(options.lr(), scheduler.lr_at(5)[0]);
  EXPECT_EQ(options.momentum(), 0.95);
  options.lr(7.0);
  options.momentum(0.25);
  add_group(*optimizer, "SGD", 0.3);
  scheduler.step();
  EXPECT_EQ(scheduler.get_last_lr()[0], 7.0);
  EXPECT_EQ(momenta_of(*optimizer), Rates({0.25, 0.95}));
  // One that joins has its own rate for its peak.
  EXPECT_DOUBLE_EQ(lrs_of(*optimizer)[1], 0.3 / 25 / 1e4);
  scheduler.seek(5);
  // Adding a group has moved the options.
  EXPECT_EQ(lrs_of(*optimizer)[0], scheduler.lr_at(5)[0]);
  EXPECT_EQ(momenta_of(*optimizer)[0], 0.95);
}

TEST(Together, ACooldownAfterTheEndIsTheFormulasAgain) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  WarmupStableDecayLR scheduler(
      *optimizer, WarmupStableDecayLROptions(0, 0, 4).floor(0.5));
  for (int i = 0; i < 5; ++i) scheduler.step();
  optimizer->param_groups()[0].options().set_lr(7.0);
  scheduler.step();
  EXPECT_EQ(lrs_of(*optimizer)[0], 7.0);
  scheduler.begin_cooldown(2);
  scheduler.step();
  EXPECT_DOUBLE_EQ(lrs_of(*optimizer)[0], 0.05);
}

TEST(Together, AnAnnealingOfNoStepsStillSetsItsRate) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  SWALR scheduler(*optimizer, SWALROptions(0.5).anneal_epochs(0));
  scheduler.step();
  EXPECT_EQ(lrs_of(*optimizer)[0], 0.5);
}

TEST(Together, StatesMayBeLoadedInAnyOrder) {
  const auto optimizer = make_optimizer("SGD", {1.0});
  StepLR step_lr(*optimizer, StepLROptions(1).gamma(0.5));
  SWALR swa_lr(*optimizer, SWALROptions(0.01));
  for (int i = 0; i < 3; ++i) step_lr.step();
  ASSERT_EQ(lrs_of(*optimizer)[0], 0.125);
  const std::string step_state = saved(step_lr);
  const std::string swa_state = saved(swa_lr);
  Rates expected;
  for (int i = 0; i < 15; ++i) {
    swa_lr.step();
    expected.push_back(lrs_of(*optimizer)[0]);
  }
  for (const bool swa_first : {false, true}) {
    const auto other = make_optimizer("SGD", {1.0});
    StepLR other_step(*other, StepLROptions(1).gamma(0.5));
    SWALR other_swa(*other, SWALROptions(0.01));
    if (swa_first) load(other_swa, swa_state);
    load(other_step, step_state);
    if (!swa_first) load(other_swa, swa_state);
    Rates rates;
    for (int i = 0; i < 15; ++i) {
      other_swa.step();
      rates.push_back(lrs_of(*other)[0]);
    }
    EXPECT_EQ(rates, expected) << swa_first;
  }
}

TEST(Together, AWriteAfterTheEndIsPartOfTheState) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  LinearLR scheduler(*optimizer, LinearLROptions().total_iters(2));
  for (int i = 0; i < 3; ++i) scheduler.step();
  optimizer->param_groups()[0].options().set_lr(7.0);
  // A group that has seen no step yet is kept as well.
  add_group(*optimizer, "SGD", 0.3);
  const auto other = make_optimizer("SGD", {0.1, 0.1});
  LinearLR resumed(*other, LinearLROptions().total_iters(2));
  load(resumed, saved(scheduler));
  resumed.step();
  EXPECT_EQ(lrs_of(*other), Rates({7.0, 0.3}));
  EXPECT_EQ(resumed.base_lrs(), Rates({0.1, 0.3}));
}

}  // namespace
}  // namespace stepsize::test
