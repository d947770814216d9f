// The schedulers that decay: checked when the rule is made.

#include <stepsize/lr_scheduler/constant_lr.h>
#include <stepsize/lr_scheduler/cosine_annealing_lr.h>
#include <stepsize/lr_scheduler/cosine_annealing_warm_restarts.h>
#include <stepsize/lr_scheduler/exponential_lr.h>
#include <stepsize/lr_scheduler/inverse_sqrt_lr.h>
#include <stepsize/lr_scheduler/inverse_time_lr.h>
#include <stepsize/lr_scheduler/linear_lr.h>
#include <stepsize/lr_scheduler/linear_warmup_lr.h>
#include <stepsize/lr_scheduler/multi_step_lr.h>
#include <stepsize/lr_scheduler/polynomial_lr.h>
#include <stepsize/lr_scheduler/step_lr.h>
#include <stepsize/lr_scheduler/warmup_cosine_lr.h>
#include <stepsize/lr_scheduler/warmup_stable_decay_lr.h>

#include "tests/hardening/option_table.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

// The rule, and its rate at the start, soon and late.
void follow(const LRRule& rule) {
  LRGroup group;
  group.base_lr = 0.1;
  for (const double t : {0.0, 1.0, 7.5, 0x1p53}) rule(group, t);
}

void add_decays(OptionTable& table) {
  OptionCases(table, "StepLROptions", "StepLR")
      .count(
          "step_size",
          kNotCount,
          {1, kMostCount},
          [](int64_t v) { follow(StepLROptions(v)); })
      .number("gamma", kNegative, {0, 1}, [](double v) {
        follow(StepLROptions(3).gamma(v));
      });
  OptionCases(table, "MultiStepLROptions", "MultiStepLR")
      .count(
          "milestones",
          kNegativeCount,
          {0, kMostCount},
          [](int64_t v) {
            follow(MultiStepLROptions({3, v}));
          })
      .number("gamma", kNegative, {0, 1}, [](double v) {
        follow(MultiStepLROptions({3}).gamma(v));
      });
  OptionCases(table, "ExponentialLROptions", "ExponentialLR")
      .number("gamma", kNotPositive, {kSmallest, 1}, [](double v) {
        follow(ExponentialLROptions(v));
      });
  // These grow, and are refused where they have grown past any number.
  const auto refuse_huge = [&](const char* owner, const auto& with) {
    OptionCases(table, owner, "Schedule")
        .refuses("gamma", text_of(kHuge), {"factor", "too large"}, [with] {
          follow(with(kHuge));
        });
  };
  refuse_huge(
      "StepLROptions", [](double v) { return StepLROptions(1).gamma(v); });
  refuse_huge("MultiStepLROptions", [](double v) {
    return MultiStepLROptions({1, 2}).gamma(v);
  });
  refuse_huge(
      "ExponentialLROptions", [](double v) { return ExponentialLROptions(v); });
  OptionCases(table, "InverseTimeLROptions", "InverseTimeLR")
      .number(
          "decay_rate",
          kNegative,
          {0, kHuge},
          [](double v) { follow(InverseTimeLROptions(v)); })
      .count("decay_steps", kNotCount, {1, kMostCount}, [](int64_t v) {
        follow(InverseTimeLROptions(0.5).decay_steps(v));
      });
  OptionCases(table, "InverseSqrtLROptions", "InverseSqrtLR")
      .count(
          "warmup_steps",
          kNotCount,
          {1, kMostCount},
          [](int64_t v) { follow(InverseSqrtLROptions(v)); })
      .number("start_factor", kNotBelowOne, {0, kBelowOne}, [](double v) {
        follow(InverseSqrtLROptions(5).start_factor(v));
      });
  OptionCases(table, "PolynomialLROptions", "PolynomialLR")
      .count(
          "total_iters",
          kNegativeCount,
          {0, kMostCount},
          [](int64_t v) { follow(PolynomialLROptions().total_iters(v)); })
      .number("power", kNotPositive, {kSmallest, kHuge}, [](double v) {
        follow(PolynomialLROptions().power(v));
      });
}

void add_ramps(OptionTable& table) {
  OptionCases(table, "ConstantLROptions", "ConstantLR")
      .number(
          "factor",
          kNotShare,
          {0, 1},
          [](double v) { follow(ConstantLROptions().factor(v)); })
      .count("total_iters", kNegativeCount, {0, kMostCount}, [](int64_t v) {
        follow(ConstantLROptions().total_iters(v));
      });
  OptionCases(table, "LinearLROptions", "LinearLR")
      .number(
          "start_factor",
          kNotShare,
          {0, 1},
          [](double v) { follow(LinearLROptions().start_factor(v)); })
      .number(
          "end_factor",
          kNotShare,
          {0, 1},
          [](double v) { follow(LinearLROptions().end_factor(v)); })
      .count("total_iters", kNegativeCount, {0, kMostCount}, [](int64_t v) {
        follow(LinearLROptions().total_iters(v));
      });
  OptionCases(table, "LinearWarmupLROptions", "LinearWarmupLR")
      .count(
          "warmup_steps",
          kNegativeCount,
          {0, kMostCount},
          [](int64_t v) { follow(LinearWarmupLROptions(v)); })
      .number("start_factor", kNotBelowOne, {0, kBelowOne}, [](double v) {
        follow(LinearWarmupLROptions(5).start_factor(v));
      });
}

void add_cosines(OptionTable& table) {
  OptionCases(table, "CosineAnnealingLROptions", "CosineAnnealingLR")
      .count(
          "T_max",
          kNotCount,
          {1, kMostCount},
          [](int64_t v) { follow(CosineAnnealingLROptions(v)); })
      .number("eta_min", kNegative, {0, kHuge}, [](double v) {
        follow(CosineAnnealingLROptions(9).eta_min(v));
      });
  using Restarts = CosineAnnealingWarmRestartsOptions;
  OptionCases(
      table,
      "CosineAnnealingWarmRestartsOptions",
      "CosineAnnealingWarmRestarts")
      .count(
          "T_0",
          kNotCount,
          {1, kMostCount},
          [](int64_t v) { follow(Restarts(v)); })
      .count(
          "T_mult",
          kNotCount,
          {1, kMostCount},
          [](int64_t v) { follow(Restarts(3).T_mult(v)); })
      .number("eta_min", kNegative, {0, kHuge}, [](double v) {
        follow(Restarts(9).eta_min(v));
      });
  OptionCases(table, "WarmupCosineLROptions", "WarmupCosineLR")
      .count(
          "warmup_steps",
          {-1, INT64_MIN, 11, kMostCount},
          {0, 10},
          [](int64_t v) { follow(WarmupCosineLROptions(v, 10)); })
      .count(
          "total_steps",
          kNotCount,
          {1, kMostCount},
          [](int64_t v) { follow(WarmupCosineLROptions(0, v)); })
      .number(
          "start_factor",
          kNotBelowOne,
          {0, kBelowOne},
          [](double v) {
            follow(WarmupCosineLROptions(2, 10).start_factor(v));
          })
      .number("eta_min", kNegative, {0, kHuge}, [](double v) {
        follow(WarmupCosineLROptions(2, 10).eta_min(v));
      });
}

void add_warmup_stable_decay(OptionTable& table) {
  using Options = WarmupStableDecayLROptions;
  OptionCases cases(table, "WarmupStableDecayLROptions", "WarmupStableDecayLR");
  cases
      .count(
          "warmup_steps",
          kNegativeCount,
          {0, kMostCount},
          [](int64_t v) { follow(Options(v, 2, 3)); })
      .count(
          "stable_steps",
          kNegativeCount,
          {0, kMostCount},
          [](int64_t v) { follow(Options(1, v, 3)); })
      .count(
          "decay_steps",
          kNegativeCount,
          {0, kMostCount},
          [](int64_t v) { follow(Options(1, 2, v)); })
      .number(
          "floor",
          kNotShare,
          {0, 1},
          [](double v) { follow(Options(1, 2, 3).floor(v)); })
      .number("floor", {0}, {kSmallest, 1}, [](double v) {
        follow(Options(1, 2, 3).floor(v).cooldown_shape(
            CooldownShape::kExponential));
      });
}

}  // namespace

OptionTable schedulers_table() {
  OptionTable table;
  add_decays(table);
  add_ramps(table);
  add_cosines(table);
  add_warmup_stable_decay(table);
  return table;
}

}  // namespace stepsize::test
