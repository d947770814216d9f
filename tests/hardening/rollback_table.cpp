// What RollbackRule, RollbackSGD and GradientNormRollback share.

#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/gradient_norm_rollback.h>
#include <stepsize/optim/rollback_sgd.h>

#include <functional>
#include <string>

#include "tests/hardening/option_table.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using Use = std::function<void(const RollbackOptions&)>;

// Growth, NaN, recovery: whatever looks at a number.
void observe_with(const RollbackOptions& options) {
  RollbackRule rule(options);
  for (int i = 0; i < 60; ++i) {
    const double norm = i % 7 == 3 ? kNaN : 1.0 + i % 5;
    if (rule.observe(norm, i % 2 == 0, 1.0 + i) == RollbackStatus::kSuspect) {
      rule.confirm_by_loss(0.5, 0.25);
    }
  }
}

void step_rollback_sgd(const RollbackOptions& options) {
  const torch::Tensor w = leaf({1});
  RollbackSGD optimizer({w}, RollbackSGDOptions(0.1).rollback(options));
  w.mutable_grad() = torch::ones_like(w);
  optimizer.step();
}

void step_guarded(const RollbackOptions& options) {
  const torch::Tensor w = leaf({1});
  ClippedSGD inner({w}, ClippedSGDOptions(0.1));
  GradientNormRollback guard(inner, options);
  w.mutable_grad() = torch::ones_like(w);
  guard.step();
}

void add_numbers(OptionCases& cases, const Use& use) {
  cases
      .number(
          "ratio",
          kNotOverOne,
          {1 + 0x1p-52, kHuge},
          [use](double v) { use(RollbackOptions().ratio(v)); })
      .number(
          "factor",
          kNotInside,
          {kSmallest, kBelowOne},
          [use](double v) { use(RollbackOptions().factor(v)); })
      .number(
          "z_score",
          kNegative,
          {0, kHuge},
          [use](double v) { use(RollbackOptions().z_score(v)); })
      .number(
          "gate_decay",
          kNotInside,
          {kSmallest, kBelowOne},
          [use](double v) { use(RollbackOptions().gate_decay(v)); })
      .number(
          "early_ratio",
          kNotOverOne,
          {1 + 0x1p-52, kHuge},
          [use](double v) { use(RollbackOptions().early_ratio(v)); })
      .number(
          "slow_ratio",
          {kNaN, -kInfinity, 1, 0, -1, -kHuge},
          {1 + 0x1p-52, kHuge, kInfinity},
          [use](double v) { use(RollbackOptions().slow_ratio(v)); })
      .number("floor", kNotShare, {0, 1}, [use](double v) {
        use(RollbackOptions().floor(v));
      });
}

void add_counts(OptionCases& cases, const Use& use) {
  const auto count =
      [&](const char* name,
          RollbackOptions& (RollbackOptions::*set)(const int64_t&),
          const std::vector<int64_t>& refused,
          int64_t least) {
        cases.count(name, refused, {least, kMostCount}, [use, set](int64_t v) {
          RollbackOptions options;
          (options.*set)(v);
          use(options);
        });
      };
  count("window", &RollbackOptions::window, kNotCount, 1);
  count("gate_steps", &RollbackOptions::gate_steps, kNotCount, 1);
  count("patience", &RollbackOptions::patience, kNotCount, 1);
  count("max_in_a_row", &RollbackOptions::max_in_a_row, kNotCount, 1);
  count("recovery_steps", &RollbackOptions::recovery_steps, kNegativeCount, 0);
}

}  // namespace

OptionTable rollback_table() {
  OptionTable table;
  const auto add = [&table](const std::string& named, const Use& use) {
    OptionCases cases(table, "RollbackOptions", named);
    add_numbers(cases, use);
    add_counts(cases, use);
    cases.refuses("buffers", "undefined", {"buffers", "defined"}, [use] {
      use(RollbackOptions().buffers({torch::Tensor()}));
    });
  };
  add("RollbackRule", observe_with);
  add("RollbackSGD", step_rollback_sgd);
  add("GradientNormRollback", step_guarded);
  return table;
}

}  // namespace stepsize::test
