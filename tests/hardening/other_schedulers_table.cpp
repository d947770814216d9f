// The schedulers that measure, that end elsewhere, that call a function or that
// are made of others.

#include <stepsize/lr_scheduler/chained_scheduler.h>
#include <stepsize/lr_scheduler/constant_lr.h>
#include <stepsize/lr_scheduler/curvature_lr.h>
#include <stepsize/lr_scheduler/greedy_lr.h>
#include <stepsize/lr_scheduler/lambda_lr.h>
#include <stepsize/lr_scheduler/multiplicative_lr.h>
#include <stepsize/lr_scheduler/phased_lr.h>
#include <stepsize/lr_scheduler/reduce_lr_on_plateau.h>
#include <stepsize/lr_scheduler/sequential_lr.h>
#include <stepsize/lr_scheduler/step_lr.h>
#include <stepsize/lr_scheduler/swa_lr.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/hardening/option_table.h"
#include "tests/hardening/scheduler_cases.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

// The rule's rate at the start, soon and late.
void follow_rule(const LRRule& rule) {
  LRGroup group;
  group.base_lr = 0.1;
  for (const double t : {0.0, 1.0, 7.5, 0x1p53}) rule(group, t);
}

void add_compositions(OptionTable& table) {
  const LRRule first = ConstantLROptions();
  OptionCases(table, "ChainedSchedulerOptions", "ChainedScheduler")
      .refuses(
          "schedulers",
          "{}",
          {"schedulers", "empty list"},
          [] { follow_rule(ChainedSchedulerOptions(std::vector<LRRule>{})); })
      .takes("schedulers", "{one}", [first] {
        follow_rule(ChainedSchedulerOptions(std::vector<LRRule>{first}));
      });
  const auto play = [first](std::vector<int64_t> milestones) {
    follow_rule(SequentialLROptions({first, first}, std::move(milestones)));
  };
  OptionCases(table, "SequentialLROptions", "SequentialLR")
      .refuses(
          "schedulers",
          "{}",
          {"schedulers", "empty list"},
          [] { follow_rule(SequentialLROptions(std::vector<LRRule>{}, {})); })
      .refuses(
          "milestones",
          "one too few",
          {"milestones", "got 0"},
          [play] { play({}); })
      .refuses(
          "milestones",
          "one too many",
          {"milestones", "got 2"},
          [play] {
            play({1, 2});
          })
      .refuses(
          "milestones",
          "falling",
          {"milestones", "got 2"},
          [first] {
            follow_rule(SequentialLROptions({first, first, first}, {3, 2}));
          })
      .count("milestones", kNegativeCount, {0, kMostCount}, [play](int64_t v) {
        play({v});
      });
}

void add_plateau(OptionTable& table) {
  using Options = ReduceLROnPlateauOptions;
  const auto use = drive<ReduceLROnPlateau, Options>;
  OptionCases cases(table, "ReduceLROnPlateauOptions", "ReduceLROnPlateau");
  cases
      .number(
          "factor",
          kNotBelowOne,
          {0, kBelowOne},
          [use](double v) { use(Options().factor(v)); })
      .count(
          "patience",
          kNegativeCount,
          {0, kMostCount},
          [use](int64_t v) { use(Options().patience(v)); })
      .number(
          "threshold",
          {-1, -kSmallest, 1, kHuge, kNaN, kInfinity, -kInfinity},
          {0, kBelowOne},
          [use](double v) { use(Options().threshold(v)); })
      .number(
          "threshold",
          {-1, 1, kHuge, kNaN},
          {0, kBelowOne},
          [use](double v) {
            use(Options().threshold(v).threshold_mode(
                ThresholdMode::kPythonRel));
          })
      .number(
          "threshold",
          kNegative,
          {0, 1, kHuge},
          [use](double v) {
            use(Options().threshold(v).threshold_mode(ThresholdMode::kAbs));
          })
      .count(
          "cooldown",
          kNegativeCount,
          {0, kMostCount},
          [use](int64_t v) { use(Options().cooldown(v)); })
      .number(
          "min_lr",
          kNegative,
          {0, kHuge},
          [use](double v) { use(Options().min_lr(v)); })
      .number("eps", kNegative, {0, kHuge}, [use](double v) {
        use(Options().eps(v));
      });
  add_list(
      cases, "min_lr", 0.1, [use](const List& v) { use(Options().min_lr(v)); });
}

void add_plateau_phase(OptionTable& table) {
  const auto use = [](const PlateauPhase& phase) {
    drive<PhasedLR>(std::vector<LRPhase>{phase});
  };
  OptionCases(table, "PlateauPhase", "PlateauPhase")
      .count(
          "steps",
          kNegativeCount,
          {0, kMostCount},
          [use](int64_t v) { use(PlateauPhase().steps(v)); })
      .count(
          "cuts",
          {-1, INT64_MIN, 1000001, kMostCount},
          {0, 1000000},
          [use](int64_t v) { use(PlateauPhase().cuts(v)); });
}

void add_greedy(OptionTable& table) {
  using Options = GreedyLROptions;
  const auto use = drive<GreedyLR, Options>;
  OptionCases cases(table, "GreedyLROptions", "GreedyLR");
  cases
      .number(
          "factor",
          {0, -1, 1, kHuge, kNaN, kInfinity, -kInfinity},
          {kSmallest, kBelowOne},
          [use](double v) { use(Options().factor(v)); })
      .count(
          "patience",
          kNegativeCount,
          {0, kMostCount},
          [use](int64_t v) { use(Options().patience(v)); })
      .number(
          "threshold",
          kNegative,
          {0, 1, kHuge},
          [use](double v) { use(Options().threshold(v)); })
      .number(
          "threshold",
          {-1, 1, kHuge, kNaN},
          {0, kBelowOne},
          [use](double v) {
            use(Options().threshold(v).threshold_mode(ThresholdMode::kRel));
          })
      .count(
          "cooldown",
          kNegativeCount,
          {0, kMostCount},
          [use](int64_t v) { use(Options().cooldown(v)); })
      .count(
          "warmup",
          kNegativeCount,
          {0, kMostCount},
          [use](int64_t v) { use(Options().warmup(v)); })
      .count(
          "window",
          kNotCount,
          {1, kMostCount},
          [use](int64_t v) { use(Options().window(v)); })
      .number(
          "min_lr",
          kNegative,
          {0, kHuge},
          [use](double v) { use(Options().min_lr(v)); })
      .number(
          "max_lr",
          kNegative,
          {0, kHuge},
          [use](double v) { use(Options().max_lr(v)); })
      .number("eps", kNegative, {0, kHuge}, [use](double v) {
        use(Options().eps(v));
      });
  add_list(
      cases, "min_lr", 0.1, [use](const List& v) { use(Options().min_lr(v)); });
  add_list(
      cases, "max_lr", 0.1, [use](const List& v) { use(Options().max_lr(v)); });
}

void add_curvature_lr(OptionTable& table) {
  using Options = CurvatureLROptions;
  const auto use = drive<CurvatureLR, Options>;
  OptionCases cases(table, "CurvatureLROptions", "CurvatureLR");
  cases
      .number(
          "factor",
          kNegative,
          {0, kHuge},
          [use](double v) { use(Options().factor(v)); })
      .count(
          "start_products",
          kNotCount,
          {1, kMostCount},
          [use](int64_t v) { use(Options().start_products(v)); })
      .count("seed", kNegativeCount, {0, kMostCount}, [use](int64_t v) {
        use(Options().seed(v));
      });
  add_list(
      cases, "factor", 0.5, [use](const List& v) { use(Options().factor(v)); });
}

// Of two groups.
template <typename Scheduler, typename Options>
void add_base_lrs(
    OptionTable& table, const std::string& named, const Options& options) {
  const auto use = [options](const PerGroup& base_lrs) {
    std::vector<torch::optim::OptimizerParamGroup> groups;
    groups.emplace_back(std::vector<torch::Tensor>{leaf({1})});
    groups.emplace_back(std::vector<torch::Tensor>{leaf({2})});
    torch::optim::SGD optimizer(groups, torch::optim::SGDOptions(0.1));
    Scheduler scheduler(optimizer, options);
    scheduler.set_base_lrs(base_lrs);
  };
  OptionCases cases(table, named, named);
  cases.number("base_lrs", kNegative, {0, kHuge}, [use](double v) { use(v); });
  add_list(cases, "base_lrs", 0.1, [use](const List& v) { use(v); });
}

template <typename Scheduler, typename Options>
void add_lambda(
    OptionTable& table, const std::string& owner, const std::string& named) {
  const auto use = drive<Scheduler, Options>;
  const LRLambda one = [](double) { return 1.0; };
  OptionCases cases(table, owner, named);
  cases
      .refuses(
          "lr_lambda",
          "nothing",
          {"lr_lambda", "got nothing"},
          [use] { use(Options(LRLambda())); })
      .refuses("lr_lambda", "{}", {"lr_lambda", "empty list"}, [use] {
        use(Options(std::vector<LRLambda>{}));
      });
  cases.refuses(
      "lr_lambda", "3 entries", {"lr_lambda", "has 3 values"}, [use, one] {
        use(Options(std::vector<LRLambda>(3, one)));
      });
  for (const double value : kNegative) {
    const std::string text = text_of(value);
    cases.refuses(
        "lr_lambda", text, {"lr_lambda", "got " + text}, [use, value] {
          use(Options(LRLambda([value](double) { return value; })));
        });
  }
  for (const std::size_t size : {1U, 2U}) {
    cases.takes(
        "lr_lambda", std::to_string(size) + " entries", [use, one, size] {
          use(Options(std::vector<LRLambda>(size, one)));
        });
  }
}

}  // namespace

OptionTable other_schedulers_table() {
  OptionTable table;
  add_compositions(table);
  add_plateau(table);
  add_plateau_phase(table);
  add_greedy(table);
  add_curvature_lr(table);
  add_base_lrs<StepLR>(table, "StepLR", StepLROptions(3));
  add_base_lrs<ReduceLROnPlateau>(
      table, "ReduceLROnPlateau", ReduceLROnPlateauOptions());
  add_base_lrs<PhasedLR>(
      table, "PhasedLR", std::vector<LRPhase>{PlateauPhase()});
  add_base_lrs<GreedyLR>(table, "GreedyLR", GreedyLROptions());
  add_base_lrs<CurvatureLR>(table, "CurvatureLR", CurvatureLROptions());
  const auto use = drive<SWALR, SWALROptions>;
  OptionCases swa(table, "SWALROptions", "SWALR");
  swa.number(
         "swa_lr",
         kNegative,
         {0, kHuge},
         [use](double v) { use(SWALROptions(v)); })
      .count(
          "anneal_epochs", kNegativeCount, {0, kMostCount}, [use](int64_t v) {
            use(SWALROptions(0.1).anneal_epochs(v));
          });
  add_list(swa, "swa_lr", 0.1, [use](const List& v) {
    use(SWALROptions(PerGroup(v)));
  });
  add_lambda<LambdaLR, LambdaLROptions>(table, "LambdaLROptions", "LambdaLR");
  add_lambda<MultiplicativeLR, MultiplicativeLROptions>(
      table, "MultiplicativeLROptions", "MultiplicativeLR");
  return table;
}

}  // namespace stepsize::test
