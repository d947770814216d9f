// The range test and early stopping.

#include <stepsize/tune/early_stopping.h>
#include <stepsize/tune/lr_range_test.h>
#include <stepsize/tune/lr_search.h>
#include <stepsize/tune/lr_suggestion.h>
#include <torch/optim/sgd.h>

#include <limits>
#include <string>
#include <vector>

#include "tests/hardening/option_table.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using List = std::vector<double>;

// Two groups, on w^2 / 2.
LRRangeTestResult sweep(const LRRangeTestOptions& options) {
  const torch::Tensor a = leaf({1});
  const torch::Tensor b = leaf({2});
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<torch::Tensor>{a});
  groups.emplace_back(std::vector<torch::Tensor>{b});
  torch::optim::SGD optimizer(groups, torch::optim::SGDOptions(0.1));
  return lr_range_test(
      TensorVector{a, b},
      optimizer,
      [&] {
        optimizer.zero_grad();
        const torch::Tensor loss = (a * a + b * b).sum() / 2;
        loss.backward();
        return loss;
      },
      options);
}

LRRangeTestOptions few() { return LRRangeTestOptions().num_iterations(14); }

void add_range_test(OptionTable& table) {
  using Options = LRRangeTestOptions;
  OptionCases cases(table, "LRRangeTestOptions", "LRRangeTest");
  cases
      .number(
          "start_lr",
          kNotPositive,
          {kSmallest, 1},
          [](double v) { sweep(few().start_lr(v)); })
      .number(
          "end_lr",
          {1e-7, 0, -1, kNaN, kInfinity, -kInfinity},
          {1.1e-7, kHuge},
          [](double v) { sweep(few().end_lr(v)); })
      .number(
          "end_lr",
          {kInfinity},
          {kHuge},
          [](double v) { sweep(few().end_lr(v).spacing(LRSpacing::kLinear)); })
      .count(
          "num_iterations",
          {1, 0, -1, INT64_MIN},
          {2},
          [](int64_t v) { sweep(Options().num_iterations(v)); })
      .count(
          "accumulation_steps",
          kNotCount,
          {1},
          [](int64_t v) { sweep(few().accumulation_steps(v)); })
      .number(
          "smoothing",
          kNotBelowOne,
          {0, kBelowOne},
          [](double v) { sweep(few().smoothing(v)); })
      .number(
          "divergence",
          {0, -1, kNaN, -kInfinity},
          {kSmallest, kHuge, kInfinity},
          [](double v) { sweep(few().divergence(v)); })
      .count(
          "half_width",
          {-1, INT64_MIN},
          {0, 1, kMostCount},
          [](int64_t v) { sweep(few().half_width(v)); })
      .number("group_ratios", kNegative, {0, kHuge}, [](double v) {
        sweep(few().group_ratios({1, v}));
      });
  cases.refuses("start_lr", text_of(kHuge), {"start_lr", text_of(kHuge)}, [] {
    sweep(few().start_lr(kHuge));
  });
  cases.refuses("group_ratios", "3 entries", {"group_ratios", "got 3"}, [] {
    sweep(few().group_ratios({1, 1, 1}));
  });
  cases.takes(
      "group_ratios", "1 entries", [] { sweep(few().group_ratios({1})); });
  cases.refuses("group_ratios", "{2, 1}", {"group_ratios", "got 2"}, [] {
    sweep(few().group_ratios({2, 1}));
  });
  cases.takes("group_ratios", "{}", [] { sweep(few().group_ratios({})); });
}

void add_search(OptionTable& table) {
  using Options = LRSearchOptions;
  const auto use = [](const Options& options) {
    lr_search(
        [](Trial& trial) { return trial.report(1, 1) ? 1.0 : 2.0; }, options);
  };
  OptionCases cases(table, "LRSearchOptions", "LRSearch");
  cases
      .number(
          "low",
          kNotPositive,
          {kSmallest, 1},
          [use](double v) { use(Options(v, 10).trials(2)); })
      .number(
          "high",
          {1e-5, 0, -1, kNaN, kInfinity, -kInfinity},
          {1.1e-5, kHuge},
          [use](double v) { use(Options(1e-5, v).trials(2)); })
      .count(
          "trials",
          kNegativeCount,
          {0, 1, 2, kMostCount},
          [use](int64_t v) {
            const auto end = [](const SearchedTrial&) { return false; };
            use(Options().trials(v).progress(end));
          })
      .count(
          "startup",
          kNegativeCount,
          {0, 1, kMostCount},
          [use](int64_t v) { use(Options().trials(2).startup(v)); })
      .count(
          "repeats",
          {0, -1, INT64_MIN, 1001, kMostCount},
          {1, 3, 1000},
          [use](int64_t v) { use(Options().trials(1).repeats(v)); })
      .number(
          "halving",
          {1, 0, -1, kNaN, -kInfinity},
          {1.5, kHuge, kInfinity},
          [use](double v) { use(Options().trials(5).halving(v)); });
  std::string many;
  for (int i = 0; i < 32; ++i) {
    many += (i == 0 ? "x" : ", x") + std::to_string(i) + ":0..1";
  }
  cases.refuses("numbers", "32 of them", {"numbers", "got 32"}, [use, many] {
    use(Options().numbers(many));
  });
}

void add_early_stopping(OptionTable& table) {
  using Options = EarlyStoppingOptions;
  const auto use = [](const Options& options) {
    EarlyStopping stopping(options);
    for (const double metric : {3.0, 1.0, kNaN, 2.0, -kHuge, kHuge}) {
      stopping.step(metric);
    }
  };
  OptionCases(table, "EarlyStoppingOptions", "EarlyStopping")
      .count(
          "patience",
          kNegativeCount,
          {0, kMostCount},
          [use](int64_t v) { use(Options().patience(v)); })
      .number(
          "min_delta",
          kNegative,
          {0, 1, kHuge},
          [use](double v) { use(Options().min_delta(v)); })
      .number("min_delta", {1, kHuge}, {0, kBelowOne}, [use](double v) {
        use(Options().min_delta(v).min_delta_mode(MinDeltaMode::kRel));
      });
}

void add_suggestions(OptionTable& table) {
  const List lrs = {1e-3, 1e-2, 1e-1, 1};
  const List losses = {4, 3, 1, 2};
  OptionCases fit(table, "fit_lr_curve", "fit_lr_curve");
  fit.count(
         "half_width",
         kNotCount,
         {1, kMostCount},
         [=](int64_t v) { fit_lr_curve(lrs, losses, v); })
      .number("rates", kNotPositive, {kSmallest}, [=](double v) {
        fit_lr_curve({v, 1e-2, 1e-1, 1}, losses);
      });
  fit.refuses("lrs", "one too few", {"rates", "got 3 and 4"}, [=] {
    fit_lr_curve({1e-3, 1e-2, 1e-1}, losses);
  });
  OptionCases(table, "averaged_losses", "averaged_losses")
      .number("smoothing", kNotBelowOne, {0, kBelowOne}, [=](double v) {
        averaged_losses(losses, v);
      });
}

}  // namespace

OptionTable tune_table() {
  OptionTable table;
  add_range_test(table);
  add_search(table);
  add_early_stopping(table);
  add_suggestions(table);
  return table;
}

}  // namespace stepsize::test
