// Options out of their range: what the error says, and that the optimizer is
// as it was.

#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/lambda_lr.h>
#include <stepsize/lr_scheduler/one_cycle_lr.h>
#include <stepsize/lr_scheduler/reduce_lr_on_plateau.h>
#include <stepsize/lr_scheduler/step_lr.h>
#include <stepsize/lr_scheduler/swa_lr.h>
#include <torch/torch.h>

#include <string>
#include <vector>

#include "tests/lr_scheduler/support/spec.h"

namespace stepsize::test {
namespace {

struct BadOption {
  const char* spec;
  const char* message;
};

const BadOption kBadOptions[] = {
    {"StepLR(step_size=0)", "StepLR: step_size must be > 0, got 0"},
    {"StepLR(step_size=3, gamma=-0.5)",
     "StepLR: gamma must be finite and >= 0, got -0.5"},
    {"MultiStepLR(milestones=[3, -1])",
     "MultiStepLR: milestones must be >= 0, got -1"},
    {"MultiStepLR(milestones=[3], gamma=nan)",
     "MultiStepLR: gamma must be finite and >= 0, got nan"},
    {"ConstantLR(factor=1.5)", "ConstantLR: factor must be in [0, 1], got 1.5"},
    {"ConstantLR(total_iters=-2)",
     "ConstantLR: total_iters must be >= 0, got -2"},
    {"LinearLR(start_factor=-0.1)",
     "LinearLR: start_factor must be in [0, 1], got -0.1"},
    {"LinearLR(end_factor=2)", "LinearLR: end_factor must be in [0, 1], got 2"},
    {"LinearLR(total_iters=-1)", "LinearLR: total_iters must be >= 0, got -1"},
    {"ExponentialLR(gamma=0)",
     "ExponentialLR: gamma must be finite and > 0, got 0"},
    {"ExponentialLR(gamma=inf)",
     "ExponentialLR: gamma must be finite and > 0, got inf"},
    {"PolynomialLR(total_iters=-5)",
     "PolynomialLR: total_iters must be >= 0, got -5"},
    {"PolynomialLR(power=0)",
     "PolynomialLR: power must be finite and > 0, got 0"},
    {"CosineAnnealingLR(T_max=-3)",
     "CosineAnnealingLR: T_max must be > 0, got -3"},
    {"CosineAnnealingLR(T_max=10, eta_min=-1e-3)",
     "CosineAnnealingLR: eta_min must be a rate, not a factor, finite and >= "
     "0, got -0.001"},
    {"CosineAnnealingWarmRestarts(T_0=0)",
     "CosineAnnealingWarmRestarts: T_0 must be > 0, got 0"},
    {"CosineAnnealingWarmRestarts(T_0=3, T_mult=0)",
     "CosineAnnealingWarmRestarts: T_mult must be >= 1, got 0"},
    {"CosineAnnealingWarmRestarts(T_0=3, eta_min=nan)",
     "CosineAnnealingWarmRestarts: eta_min must be a rate, not a factor, "
     "finite and >= 0, got nan"},
    {"CyclicLR(base_lr=-0.1, max_lr=1)",
     "CyclicLR: base_lr must be finite and >= 0, got -0.1"},
    {"CyclicLR(base_lr=0.1, max_lr=[1, inf])",
     "CyclicLR: max_lr must be finite and >= 0, got inf"},
    {"CyclicLR(base_lr=0.1, max_lr=[])",
     "CyclicLR: max_lr must have one value a parameter group, got an empty "
     "list"},
    {"CyclicLR(base_lr=0.1, max_lr=[1, 2, 3])",
     "CyclicLR: max_lr has 3 values, expected 2 (the parameter groups), or one "
     "for all"},
    {"CyclicLR(base_lr=0.1, max_lr=1, step_size_up=0)",
     "CyclicLR: step_size_up must be > 0, got 0"},
    {"CyclicLR(base_lr=0.1, max_lr=1, step_size_down=-1)",
     "CyclicLR: step_size_down must be > 0, got -1"},
    {"CyclicLR(base_lr=0.1, max_lr=1, mode=exp_range, gamma=1.5)",
     "CyclicLR: gamma must be in (0, 1], got 1.5"},
    {"CyclicLR(base_lr=0.1, max_lr=1, base_momentum=-0.1)",
     "CyclicLR: base_momentum must be in [0, 1), got -0.1"},
    {"CyclicLR(base_lr=0.1, max_lr=1, max_momentum=[0.9, 0.8, 0.7])",
     "CyclicLR: max_momentum has 3 values, expected 2 (the parameter groups), "
     "or one "
     "for all"},
    {"OneCycleLR(max_lr=0.1)",
     "OneCycleLR: total_steps, or both epochs and steps_per_epoch, must be "
     "set"},
    {"OneCycleLR(max_lr=0.1, epochs=3)",
     "OneCycleLR: total_steps, or both epochs and steps_per_epoch, must be "
     "set"},
    {"OneCycleLR(max_lr=0.1, total_steps=0)",
     "OneCycleLR: total_steps must be > 0, got 0"},
    {"OneCycleLR(max_lr=0.1, epochs=0, steps_per_epoch=3)",
     "OneCycleLR: epochs must be > 0, got 0"},
    {"OneCycleLR(max_lr=0.1, epochs=4611686018427387904, steps_per_epoch=3)",
     "OneCycleLR: steps_per_epoch must be such that its product with epochs "
     "fits 64 bits, got 3"},
    {"OneCycleLR(max_lr=[0.1, 0.2, 0.3], total_steps=9)",
     "OneCycleLR: max_lr has 3 values, expected 2 (the parameter groups), or "
     "one "
     "for all"},
    {"OneCycleLR(max_lr=0.1, total_steps=9, pct_start=1.2)",
     "OneCycleLR: pct_start must be in [0, 1], got 1.2"},
    {"OneCycleLR(max_lr=0.1, total_steps=9, pct_start=0.6, three_phase=True)",
     "OneCycleLR: pct_start must be at most 0.5 with three_phase, got 0.6"},
    {"OneCycleLR(max_lr=0.1, total_steps=9, div_factor=0.5)",
     "OneCycleLR: div_factor must be finite and >= 1, got 0.5"},
    {"OneCycleLR(max_lr=0.1, total_steps=9, final_div_factor=0)",
     "OneCycleLR: final_div_factor must be > 0, got 0"},
    {"OneCycleLR(max_lr=0.1, total_steps=9, max_momentum=1)",
     "OneCycleLR: max_momentum must be in [0, 1), got 1"},
    {"SequentialLR(schedulers=[], milestones=[])",
     "SequentialLR: schedulers must have at least one entry, got an empty "
     "list"},
    {"SequentialLR(schedulers=[LinearLR()], milestones=[4])",
     "SequentialLR: milestones must be one fewer than the 1 schedulers, got 1"},
    {"SequentialLR(schedulers=[LinearLR(), LinearLR(), LinearLR()], "
     "milestones=[4, 3])",
     "SequentialLR: milestones must be >= 0 and not falling, got 3"},
    {"SequentialLR(schedulers=[LinearLR(), StepLR(step_size=0)], "
     "milestones=[4])",
     "StepLR: step_size must be > 0, got 0"},
    {"SequentialLR(schedulers=[LinearLR(), SWALR(swa_lr=[1, 2, 3])], "
     "milestones=[4])",
     "SWALR: swa_lr has 3 values, expected 2 (the parameter groups), or one "
     "for all"},
    {"ChainedScheduler(schedulers=[])",
     "ChainedScheduler: schedulers must have at least one entry, got an empty "
     "list"},
    {"LambdaLR(lr_lambda=[])",
     "LambdaLR: lr_lambda must have one function a parameter group, got an "
     "empty list"},
    {"MultiplicativeLR(lr_lambda=[shrink, shrink, shrink])",
     "MultiplicativeLR: lr_lambda has 3 values, expected 2 (the parameter "
     "groups), or one "
     "for all"},
    {"SWALR(swa_lr=-1)", "SWALR: swa_lr must be finite and >= 0, got -1"},
    {"SWALR(swa_lr=1, anneal_epochs=-1)",
     "SWALR: anneal_epochs must be >= 0, got -1"},
    {"LinearWarmupLR(warmup_steps=-1)",
     "LinearWarmupLR: warmup_steps must be >= 0, got -1"},
    {"WarmupCosineLR(warmup_steps=30, total_steps=20)",
     "WarmupCosineLR: warmup_steps must be in [0, total_steps = 20], got 30"},
    {"WarmupCosineLR(warmup_steps=0, total_steps=0)",
     "WarmupCosineLR: total_steps must be > 0, got 0"},
    {"InverseTimeLR(decay_rate=-1)",
     "InverseTimeLR: decay_rate must be finite and >= 0, got -1"},
    {"InverseTimeLR(decay_rate=1, decay_steps=0)",
     "InverseTimeLR: decay_steps must be > 0, got 0"},
    {"InverseSqrtLR(warmup_steps=0)",
     "InverseSqrtLR: warmup_steps must be > 0, got 0"},
    {"WarmupStableDecayLR(warmup_steps=1, stable_steps=-1, decay_steps=1)",
     "WarmupStableDecayLR: stable_steps must be >= 0, got -1"},
    {"WarmupStableDecayLR(warmup_steps=1, stable_steps=1, decay_steps=1, "
     "floor=1.5)",
     "WarmupStableDecayLR: floor must be in [0, 1], got 1.5"},
    {"ReduceLROnPlateau(factor=1)",
     "ReduceLROnPlateau: factor must be in [0, 1), got 1"},
    {"ReduceLROnPlateau(patience=-1)",
     "ReduceLROnPlateau: patience must be >= 0, got -1"},
    {"ReduceLROnPlateau(threshold=nan)",
     "ReduceLROnPlateau: threshold must be finite and >= 0, got nan"},
    {"ReduceLROnPlateau(threshold=1)",
     "ReduceLROnPlateau: threshold must be below 1 where it is relative and "
     "the mode is kMin, got 1"},
    {"ReduceLROnPlateau(cooldown=-4)",
     "ReduceLROnPlateau: cooldown must be >= 0, got -4"},
    {"ReduceLROnPlateau(min_lr=[0.1, 0.2, 0.3])",
     "ReduceLROnPlateau: min_lr has 3 values, expected 2 (the parameter "
     "groups), or one "
     "for all"},
    {"ReduceLROnPlateau(eps=-1)",
     "ReduceLROnPlateau: eps must be finite and >= 0, got -1"},
};

TEST(Options, AreCheckedBeforeTheOptimizerIsTouched) {
  for (const BadOption& bad : kBadOptions) {
    SCOPED_TRACE(bad.spec);
    const auto optimizer = make_optimizer("SGD", {0.1, 0.03});
    std::string message = "no error";
    try {
      (void)recipe_of(bad.spec).make(*optimizer);
    } catch (const c10::Error& error) {
      message = error.what_without_backtrace();
    }
    EXPECT_EQ(message, bad.message);
    EXPECT_EQ(lrs_of(*optimizer), std::vector<double>({0.1, 0.03}));
    EXPECT_EQ(momenta_of(*optimizer), std::vector<double>({0.5, 0.5}));
  }
}

TEST(Options, PrintAsTheirFingerprint) {
  const struct {
    const char* spec;
    const char* text;
  } kTexts[] = {
      {"CosineAnnealingLR(T_max=200, eta_min=0.00001)",
       "CosineAnnealingLR(T_max=200, eta_min=1e-05)"},
      {"LambdaLR(lr_lambda=[decay, stairs])",
       "LambdaLR(lr_lambda=[callable, callable])"},
      {"OneCycleLR(max_lr=[0.1, 0.5], epochs=3, steps_per_epoch=10, "
       "cycle_momentum=False)",
       "OneCycleLR(max_lr=[0.1, 0.5], total_steps=30, pct_start=0.3, "
       "anneal_strategy=cos, div_factor=25, final_div_factor=10000, "
       "three_phase=false, cycle_momentum=false)"},
      {"SequentialLR(schedulers=[LinearLR(total_iters=2), "
       "StepLR(step_size=3)], milestones=[2])",
       "SequentialLR(schedulers=[LinearLR(start_factor=0.3333333333333333, "
       "end_factor=1, total_iters=2), StepLR(step_size=3, gamma=0.1)], "
       "milestones=[2])"},
  };
  for (const auto& row : kTexts) {
    EXPECT_EQ(recipe_of(row.spec).rule->describe(), row.text);
  }
}

TEST(Options, TakeListsOfOne) {
  EXPECT_EQ(
      LRRule(SWALROptions({0.1})).describe(),
      "SWALR(swa_lr=[0.1], anneal_epochs=10, anneal_strategy=cos)");
  const auto optimizer = make_optimizer("SGD", {0.1});
  OneCycleLR scheduler(*optimizer, OneCycleLROptions({0.5}).total_steps(11));
  EXPECT_EQ(lrs_of(*optimizer)[0], 0.5 / 25);
}

TEST(Options, AListOfOneIsForAllGroups) {
  const auto optimizer = make_optimizer("SGD", {0.1, 0.2});
  OneCycleLR cycle(*optimizer, OneCycleLROptions({0.5}).total_steps(11));
  EXPECT_EQ(lrs_of(*optimizer), (std::vector<double>{0.5 / 25, 0.5 / 25}));
  LambdaLR lambda(
      *optimizer,
      LambdaLROptions(std::vector<std::function<double(double)>>{
          [](double) { return 0.5; }}));
  EXPECT_EQ(lrs_of(*optimizer), (std::vector<double>{0.25 / 25, 0.25 / 25}));
}

TEST(Options, RefuseAnEmptyList) {
  try {
    (void)OneCycleLROptions({}).total_steps(11).rule();
    FAIL() << "no error";
  } catch (const c10::Error& error) {
    EXPECT_EQ(
        std::string(error.what_without_backtrace()),
        "OneCycleLR: max_lr must have one value a parameter group, got an "
        "empty list");
  }
}

TEST(LambdaLR, RefusesAnEmptyFunction) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  EXPECT_THROW(LambdaLR(*optimizer, LambdaLROptions(LRLambda())), c10::Error);
}

}  // namespace
}  // namespace stepsize::test
