// The schedulers that cycle rate and momentum.

#include <stepsize/lr_scheduler/cyclic_lr.h>
#include <stepsize/lr_scheduler/one_cycle_lr.h>

#include <limits>
#include <string>

#include "tests/hardening/option_table.h"
#include "tests/hardening/scheduler_cases.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

void add_cyclic(OptionTable& table) {
  using Options = CyclicLROptions;
  const auto use = drive<CyclicLR, Options>;
  OptionCases cases(table, "CyclicLROptions", "CyclicLR");
  cases
      .number(
          "base_lr",
          kNegative,
          {0, kHuge},
          [use](double v) { use(Options(v, 1)); })
      .number(
          "base_lr",
          kNegative,
          {},
          [use](double v) {
            use(Options(List{0.1, v}, 1));
          })
      .number(
          "max_lr",
          kNegative,
          {0, kHuge},
          [use](double v) { use(Options(0.1, v)); })
      .count(
          "step_size_up",
          kNotCount,
          {1, kMostCount},
          [use](int64_t v) { use(Options(0.1, 1).step_size_up(v)); })
      .count(
          "step_size_down",
          kNotCount,
          {1, kMostCount},
          [use](int64_t v) { use(Options(0.1, 1).step_size_down(v)); })
      .number(
          "gamma",
          kNotShareOverZero,
          {kSmallest, 1},
          [use](double v) {
            use(Options(0.1, 1).gamma(v).mode(CyclicMode::kExpRange));
          })
      .number(
          "base_momentum",
          kNotBelowOne,
          {0, kBelowOne},
          [use](double v) { use(Options(0.1, 1).base_momentum(v)); })
      .number("max_momentum", kNotBelowOne, {0, kBelowOne}, [use](double v) {
        use(Options(0.1, 1).max_momentum(v));
      });
  add_list(cases, "base_lr", 0.1, [use](const List& v) { use(Options(v, 1)); });
  add_list(
      cases, "max_lr", 0.1, [use](const List& v) { use(Options(0.1, v)); });
  add_list(cases, "base_momentum", 0.5, [use](const List& v) {
    use(Options(0.1, 1).base_momentum(v));
  });
  add_list(cases, "max_momentum", 0.5, [use](const List& v) {
    use(Options(0.1, 1).max_momentum(v));
  });
  cases.number("scale_fn", kNegative, {0, 1}, [use](double v) {
    use(Options(0.1, 1).scale_fn([v](double) { return v; }));
  });
  cases.refuses(
      "scale_fn", text_of(kHuge), {"parameter group 0", "t = 1"}, [use] {
        use(Options(0.1, 1).scale_fn([](double) { return kHuge; }));
      });
}

void add_one_cycle(OptionTable& table) {
  using Options = OneCycleLROptions;
  const auto use = drive<OneCycleLR, Options>;
  const auto fine = [] { return Options(0.1).total_steps(10); };
  OptionCases cases(table, "OneCycleLROptions", "OneCycleLR");
  cases
      .number(
          "max_lr",
          kNegative,
          {0, kHuge},
          [use](double v) { use(Options(v).total_steps(10)); })
      .count(
          "total_steps",
          kNotCount,
          {1, kMostCount},
          [use](int64_t v) { use(Options(0.1).total_steps(v)); })
      .count(
          "epochs",
          kNotCount,
          {1, kMostCount},
          [use](int64_t v) { use(Options(0.1).epochs(v).steps_per_epoch(1)); })
      .count(
          "steps_per_epoch",
          {0, -1, INT64_MIN, kMostCount},
          {1, kMostCount / 2},
          [use](int64_t v) { use(Options(0.1).epochs(2).steps_per_epoch(v)); })
      .number(
          "pct_start",
          kNotShare,
          {0, 1},
          [use, fine](double v) { use(fine().pct_start(v)); })
      .number(
          "pct_start",
          {0.6, 1},
          {0, 0.5},
          [use, fine](double v) { use(fine().pct_start(v).three_phase(true)); })
      .number(
          "base_momentum",
          kNotBelowOne,
          {0, kBelowOne},
          [use, fine](double v) { use(fine().base_momentum(v)); })
      .number(
          "max_momentum",
          kNotBelowOne,
          {0, kBelowOne},
          [use, fine](double v) { use(fine().max_momentum(v)); })
      .number(
          "div_factor",
          {0.5, 0, -1, kNaN, kInfinity, -kInfinity},
          {1, kHuge},
          [use, fine](double v) { use(fine().div_factor(v)); })
      .number(
          "final_div_factor",
          {0, -1, kNaN, -kInfinity, kSmallest},
          {1e-300, kHuge, kInfinity},
          [use, fine](double v) { use(fine().final_div_factor(v)); });
  add_list(cases, "max_lr", 0.1, [use](const List& v) {
    use(Options(PerGroup(v)).total_steps(10));
  });
  add_list(cases, "base_momentum", 0.5, [use, fine](const List& v) {
    use(fine().base_momentum(v));
  });
  add_list(cases, "max_momentum", 0.5, [use, fine](const List& v) {
    use(fine().max_momentum(v));
  });
}

}  // namespace

OptionTable cycling_schedulers_table() {
  OptionTable table;
  add_cyclic(table);
  add_one_cycle(table);
  return table;
}

}  // namespace stepsize::test
