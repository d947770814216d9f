// Rates that are set after the start, and stay.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/curvature_lr.h>
#include <stepsize/lr_scheduler/cyclic_lr.h>
#include <stepsize/lr_scheduler/one_cycle_lr.h>
#include <stepsize/lr_scheduler/reduce_lr_on_plateau.h>
#include <stepsize/lr_scheduler/rule_lr.h>
#include <stepsize/lr_scheduler/sequential_lr.h>
#include <stepsize/lr_scheduler/step_lr.h>
#include <stepsize/lr_scheduler/swa_lr.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "tests/lr_scheduler/support/classes.h"
#include "tests/lr_scheduler/support/spec.h"
#include "tests/support/archive_bytes.h"
#include "tests/support/error_text.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;

double cosine_of(double x) { return (1 + std::cos(std::acos(-1.0) * x)) / 2; }

// A class, and its rate as a formula of base and time.
struct Formula {
  const char* spec;
  std::function<double(double base, double t)> rate;
};

std::vector<Formula> formulas() {
  const auto upto = [](double t, double end) { return std::min(t / end, 1.0); };
  return {
      {"StepLR(step_size=7)",
       [](double b, double t) { return b * std::pow(0.1, std::floor(t / 7)); }},
      {"MultiStepLR(milestones=[9, 20], gamma=0.5)",
       [](double b, double t) {
         return b * (t < 9 ? 1 : t < 20 ? 0.5 : 0.25);
       }},
      {"ConstantLR(total_iters=24)",
       [](double b, double t) { return t < 24 ? b / 3 : b; }},
      {"LinearLR(total_iters=24)",
       [upto](double b, double t) {
         return b * (1.0 / 3 + (1 - 1.0 / 3) * upto(t, 24));
       }},
      {"ExponentialLR(gamma=0.9)",
       [](double b, double t) { return b * std::pow(0.9, t); }},
      {"PolynomialLR(total_iters=36, power=2)",
       [upto](double b, double t) { return b * std::pow(1 - upto(t, 36), 2); }},
      {"CosineAnnealingLR(T_max=40, eta_min=0.001)",
       [upto](double b, double t) {
         return 0.001 + (b - 0.001) * cosine_of(upto(t, 40));
       }},
      {"CosineAnnealingWarmRestarts(T_0=10, eta_min=0.001)",
       [](double b, double t) {
         return 0.001 + (b - 0.001) * cosine_of(std::fmod(t, 10) / 10);
       }},
      {"SequentialLR(schedulers=[ConstantLR(total_iters=99), "
       "ExponentialLR(gamma=0.9)], milestones=[8])",
       [](double b, double t) {
         return t < 8 ? b / 3 : b * std::pow(0.9, t - 8);
       }},
      {"ChainedScheduler(schedulers=[ConstantLR(total_iters=24), "
       "ExponentialLR(gamma=0.9)])",
       [](double b, double t) {
         return b * std::pow(0.9, t) * (t < 24 ? 1.0 / 3 : 1);
       }},
      {"SWALR(swa_lr=0.05, anneal_epochs=30)",
       [upto](double b, double t) {
         return 0.05 + (b - 0.05) * cosine_of(upto(t, 30));
       }},
      {"LinearWarmupLR(warmup_steps=24)",
       [](double b, double t) { return b * std::min(1.0, (t + 1) / 25); }},
      {"WarmupCosineLR(warmup_steps=9, total_steps=48, eta_min=0.002)",
       [upto](double b, double t) {
         return t < 9 ? b * (t + 1) / 10
                      : 0.002 + (b - 0.002) * cosine_of(upto(t - 9, 39));
       }},
      {"InverseTimeLR(decay_rate=0.5, decay_steps=4)",
       [](double b, double t) { return b / (1 + 0.5 * t / 4); }},
      {"InverseSqrtLR(warmup_steps=10)",
       [](double b, double t) {
         return t < 10 ? b * (t + 1) / 11 : b * std::sqrt(10 / t);
       }},
      {"WarmupStableDecayLR(warmup_steps=8, stable_steps=10, decay_steps=12)",
       [upto](double b, double t) {
         if (t < 8) return b * (t + 1) / 9;
         return t < 18 ? b : b * (1 - upto(t - 18, 12));
       }},
  };
}

void expect_rates(
    const std::vector<double>& rates,
    const Formula& formula,
    const std::vector<double>& base_lrs,
    double t) {
  ASSERT_EQ(rates.size(), base_lrs.size());
  for (std::size_t i = 0; i < rates.size(); ++i) {
    const double expected = formula.rate(base_lrs[i], t);
    EXPECT_NEAR(rates[i], expected, 1e-12 + 1e-9 * expected)
        << formula.spec << " at " << t << ", group " << i;
  }
}

TEST(BaseLRs, TheScheduleGoesOnFromThem) {
  for (const Formula& formula : formulas()) {
    SCOPED_TRACE(formula.spec);
    const auto optimizer = make_optimizer("SGD", kLrs);
    const auto scheduler = recipe_of(formula.spec).make(*optimizer);
    for (int t = 1; t <= 5; ++t) scheduler->step();
    expect_rates(lrs_of(*optimizer), formula, kLrs, 5);
    scheduler->set_base_lrs({0.2, 0.07});
    for (int t = 5; t <= 60; ++t) {
      expect_rates(lrs_of(*optimizer), formula, {0.2, 0.07}, t);
      EXPECT_EQ(scheduler->get_last_lr(), lrs_of(*optimizer));
      scheduler->step();
    }
    // After its end as well, and one for all groups.
    scheduler->set_base_lrs(0.4);
    expect_rates(lrs_of(*optimizer), formula, {0.4, 0.4}, 61);
    scheduler->step();
    expect_rates(lrs_of(*optimizer), formula, {0.4, 0.4}, 62);
  }
}

// Every class: as if the groups had had these rates from the start.
TEST(BaseLRs, AreTheSameAsAnotherStart) {
  for (const char* spec : kRuleClasses) {
    SCOPED_TRACE(spec);
    const auto optimizer = make_optimizer("SGD", kLrs);
    const auto scheduler = recipe_of(spec).make(*optimizer);
    auto& rule_lr = dynamic_cast<RuleLR&>(*scheduler);
    if (!rule_lr.rule().uses_base_lr()) continue;
    const auto other = make_optimizer("SGD", {0.2, 0.07});
    const auto expected = recipe_of(spec).make(*other);
    for (int t = 0; t < 70; ++t) {
      if (t == 11) {
        scheduler->set_base_lrs({0.2, 0.07});
        EXPECT_EQ(rule_lr.base_lrs(), std::vector<double>({0.2, 0.07}));
      }
      if (t >= 11) {
        ASSERT_EQ(lrs_of(*optimizer), lrs_of(*other)) << t;
      }
      scheduler->step();
      expected->step();
    }
  }
}

// An optimizer's rate set by hand is gone at the next step.
TEST(BaseLRs, StayWhereTheOptimizersRateDoesNot) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  StepLR scheduler(*optimizer, StepLROptions(100));
  optimizer->param_groups()[0].options().set_lr(0.5);
  scheduler.step();
  EXPECT_EQ(lrs_of(*optimizer)[0], 0.1);
  scheduler.set_base_lrs(0.5);
  scheduler.step();
  EXPECT_EQ(lrs_of(*optimizer)[0], 0.5);
  // They are of the state.
  const auto other = make_optimizer("SGD", {0.1});
  StepLR resumed(*other, StepLROptions(100));
  load(resumed, saved(scheduler));
  resumed.step();
  EXPECT_EQ(lrs_of(*other)[0], 0.5);
}

TEST(BaseLRs, OfAGroupThatCameLater) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  StepLR scheduler(*optimizer, StepLROptions(100));
  add_group(*optimizer, "SGD", 0.3);
  scheduler.set_base_lrs({0.2, 0.4});
  scheduler.step();
  EXPECT_EQ(lrs_of(*optimizer), std::vector<double>({0.2, 0.4}));
}

// It takes the rates in force at its first step.
TEST(BaseLRs, OfSWALRBeforeItsStart) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  SWALR scheduler(
      *optimizer,
      SWALROptions(0.0).anneal_epochs(2).anneal_strategy(
          AnnealStrategy::kLinear));
  scheduler.set_base_lrs(0.4);
  EXPECT_EQ(lrs_of(*optimizer)[0], 0.4);
  scheduler.step();
  EXPECT_EQ(lrs_of(*optimizer)[0], 0.2);
}

TEST(BaseLRs, OfAPlateauAreTheRatesInForce) {
  const auto optimizer = make_optimizer("SGD", kLrs);
  ReduceLROnPlateau scheduler(
      *optimizer, ReduceLROnPlateauOptions().patience(0).factor(0.5));
  scheduler.step(1.0);
  scheduler.set_base_lrs({0.8, 0.4});
  EXPECT_EQ(lrs_of(*optimizer), std::vector<double>({0.8, 0.4}));
  scheduler.step(2.0);
  EXPECT_EQ(lrs_of(*optimizer), std::vector<double>({0.4, 0.2}));
}

TEST(BaseLRs, OfCurvatureLRHoldUntilItHasMeasured) {
  auto weight = torch::ones({2}, torch::requires_grad());
  torch::optim::SGD optimizer({weight}, torch::optim::SGDOptions(0.1));
  CurvatureLR scheduler(optimizer);
  scheduler.set_base_lrs(0.2);
  scheduler.step();
  EXPECT_EQ(lrs_of(optimizer)[0], 0.2);
  scheduler.observe((weight * weight).sum());
  const double measured = lrs_of(optimizer)[0];
  EXPECT_EQ(
      message_of([&] { scheduler.set_base_lrs(0.3); }),
      "CurvatureLR: set_base_lrs: it measures its rates, and no base rate has "
      "a say in them: their factor is an option");
  EXPECT_EQ(lrs_of(optimizer)[0], measured);
}

TEST(BaseLRs, ThatAreNoneAreRefusedAndChangeNothing) {
  const auto optimizer = make_optimizer("SGD", kLrs);
  StepLR scheduler(*optimizer, StepLROptions(7));
  const auto refusal = [&](StatefulLR& refusing, const PerGroup& lrs) {
    const std::string before = saved(refusing);
    const auto rates = lrs_of(*optimizer);
    const std::string message = message_of([&] { refusing.set_base_lrs(lrs); });
    EXPECT_EQ(saved(refusing), before);
    EXPECT_EQ(lrs_of(*optimizer), rates);
    return message;
  };
  EXPECT_EQ(
      refusal(scheduler, -1.0),
      "StepLR: base_lrs must be finite and >= 0, got -1");
  EXPECT_EQ(
      refusal(scheduler, {0.1, std::nan("")}),
      "StepLR: base_lrs must be finite and >= 0, got nan");
  EXPECT_EQ(
      refusal(scheduler, {0.1, 0.1, 0.1}),
      "StepLR: base_lrs has 3 values, expected 2 (the parameter groups), or "
      "one "
      "for all");
  EXPECT_EQ(
      refusal(scheduler, std::vector<double>()),
      "StepLR: base_lrs must have one value a parameter group, got an empty "
      "list");
  OneCycleLR one_cycle(
      *optimizer, OneCycleLROptions(0.1).total_steps(10).cycle_momentum(false));
  EXPECT_THAT(
      refusal(one_cycle, 0.3),
      HasSubstr("OneCycleLR: set_base_lrs: its rates are options"));
  CyclicLR cyclic(*optimizer, CyclicLROptions(0.1, 0.2).cycle_momentum(false));
  EXPECT_THAT(
      refusal(cyclic, 0.3),
      HasSubstr("CyclicLR: set_base_lrs: its rates are options"));
  // Of a composition it is enough that a part has a base.
  RuleLR part(
      *optimizer,
      SequentialLROptions(
          {StepLROptions(3),
           OneCycleLROptions(0.1).total_steps(10).cycle_momentum(false)},
          {5}));
  part.set_base_lrs(0.3);
  EXPECT_EQ(lrs_of(*optimizer)[0], 0.3);
}

}  // namespace
}  // namespace stepsize::test
