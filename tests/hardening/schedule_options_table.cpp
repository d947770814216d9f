// The schedules with options, which are checked as they are set.

#include <stepsize/schedule/cycle.h>
#include <stepsize/schedule/recipe.h>

#include <limits>

#include "tests/hardening/option_table.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

void ask_recipe(const Schedule& schedule) {
  for (const double t : {0.0, 0.5, 1.0, 100.0, 1e9, 0x1p53, kHuge}) schedule(t);
  schedule.to_string();
}

void add_cycles(OptionTable& table) {
  using Options = CosineRestartsOptions;
  const auto restarts = [](const Options& options) {
    ask_recipe(cosine_restarts(9, options));
  };
  OptionCases(table, "CosineRestartsOptions", "cosine_restarts")
      .number(
          "stretch",
          {0, -1, 0.5, kNaN, kInfinity, -kInfinity},
          {1, 1 + 0x1p-52, 1.5, 2, kHuge},
          [restarts](double v) { restarts(Options().stretch(v)); })
      .number(
          "peak_decay",
          kNotShareOverZero,
          {kSmallest, 1},
          [restarts](double v) { restarts(Options().peak_decay(v)); })
      .number(
          "height_decay",
          kNotShareOverZero,
          {kSmallest, 1},
          [restarts](double v) {
            restarts(Options().height_decay(v).floor(0.1));
          })
      .count(
          "cycles",
          {0, -2, INT64_MIN},
          {1, Schedule::kForever, kMostCount},
          [restarts](int64_t v) { restarts(Options().cycles(v)); })
      .number("floor", kNotShare, {0, 1}, [restarts](double v) {
        restarts(Options().floor(v));
      });
  OptionCases(table, "cosine_restarts", "cosine_restarts")
      .number("first_cycle", kNotPositive, {kSmallest, kHuge}, [](double v) {
        ask_recipe(cosine_restarts(v, Options().stretch(1.5)));
      });
  const auto repeat = [](const RepeatOptions& options) {
    ask_recipe(cosine_restarts(9).limit(20).repeat(options));
  };
  OptionCases(table, "RepeatOptions", "repeat")
      .count(
          "count",
          {0, -2, INT64_MIN},
          {1, Schedule::kForever, kMostCount},
          [repeat](int64_t v) { repeat(RepeatOptions().count(v)); })
      .number(
          "stretch",
          {0, -1, 0.5, kNaN, kInfinity, -kInfinity},
          {1, 1 + 0x1p-52, 1.5, 2, kHuge},
          [repeat](double v) { repeat(RepeatOptions().stretch(v)); })
      .number(
          "peak_decay",
          kNotShareOverZero,
          {kSmallest, 1},
          [repeat](double v) {
            repeat(RepeatOptions().peak_decay(v).floor(0.1));
          })
      .number(
          "height_decay",
          kNotShareOverZero,
          {kSmallest, 1},
          [repeat](double v) {
            repeat(RepeatOptions().height_decay(v).floor(0.1));
          })
      .number("floor", kNotShare, {0, 1}, [repeat](double v) {
        repeat(RepeatOptions().peak_decay(0.5).floor(v));
      });
  OptionCases(table, "polynomial_cycles", "polynomial_cycles")
      .number(
          "length",
          kNotPositive,
          {kSmallest, kHuge},
          [](double v) { ask_recipe(polynomial_cycles(v)); })
      .number(
          "power",
          kNotPositive,
          {kSmallest, kHuge},
          [](double v) { ask_recipe(polynomial_cycles(9, v)); })
      .number("floor", kNotShare, {0, 1}, [](double v) {
        ask_recipe(polynomial_cycles(9, 1, v));
      });
  OptionCases(table, "TriangularOptions", "triangular")
      .number(
          "down",
          kNotPositive,
          {kSmallest, kHuge},
          [](double v) {
            ask_recipe(triangular(9, TriangularOptions().down(v)));
          })
      .number("floor", kNotShare, {0, 1}, [](double v) {
        ask_recipe(triangular(9, TriangularOptions().floor(v)));
      });
  OptionCases(table, "triangular", "triangular")
      .number("up", kNotPositive, {kSmallest, kHuge}, [](double v) {
        ask_recipe(triangular(v));
      });
  OptionCases(table, "triangular2", "triangular2")
      .number("up", kNotPositive, {kSmallest, kHuge}, [](double v) {
        ask_recipe(triangular2(v));
      });
  OptionCases(table, "exp_range", "exp_range")
      .number(
          "up",
          kNotPositive,
          {kSmallest, kHuge},
          [](double v) { ask_recipe(exp_range(v, 0.5)); })
      .number("gamma", kNotShareOverZero, {kSmallest, 1}, [](double v) {
        ask_recipe(exp_range(9, v));
      });
}

void add_one_cycle_recipe(OptionTable& table) {
  using Options = OneCycleOptions;
  const auto use = [](const Options& options) {
    ask_recipe(one_cycle(100, options));
  };
  OptionCases(table, "OneCycleOptions", "one_cycle")
      .number(
          "pct_start",
          kNotShare,
          {0, 1},
          [use](double v) { use(Options().pct_start(v)); })
      .number(
          "pct_start",
          {0.6, 1},
          {0, 0.5},
          [use](double v) { use(Options().pct_start(v).three_phase(true)); })
      .number(
          "div_factor",
          {0, -1, 0.5, kNaN, -kInfinity},
          {1, kHuge, kInfinity},
          [use](double v) { use(Options().div_factor(v)); })
      .number(
          "final_div_factor",
          {0, -1, kNaN, -kInfinity, kSmallest},
          {1e-300, kHuge, kInfinity},
          [use](double v) { use(Options().final_div_factor(v)); });
  OptionCases(table, "one_cycle", "one_cycle")
      .number("length", kNegative, {0, kSmallest, kHuge}, [](double v) {
        ask_recipe(one_cycle(v));
      });
}

void add_other_recipes(OptionTable& table) {
  OptionCases(table, "warmup_stable_decay", "warmup_stable_decay")
      .number(
          "warmup_length",
          kNegative,
          {0, kHuge},
          [](double v) { ask_recipe(warmup_stable_decay(v, 2, 3)); })
      .number(
          "stable_length",
          kNegative,
          {0, kHuge},
          [](double v) { ask_recipe(warmup_stable_decay(1, v, 3)); })
      .number(
          "decay_length",
          kNegative,
          {0, kHuge},
          [](double v) { ask_recipe(warmup_stable_decay(1, 2, v)); })
      .number("floor", kNotShare, {0, 1}, [](double v) {
        ask_recipe(warmup_stable_decay(1, 2, 3, CooldownShape::kSqrt, v));
      });
  OptionCases(table, "TriStageOptions", "tri_stage")
      .number(
          "init_scale",
          kNotShare,
          {0, 1},
          [](double v) {
            ask_recipe(tri_stage(1, 2, 3, TriStageOptions().init_scale(v)));
          })
      .number("final_scale", kNotShareOverZero, {kSmallest, 1}, [](double v) {
        ask_recipe(tri_stage(1, 2, 3, TriStageOptions().final_scale(v)));
      });
  OptionCases(table, "tri_stage", "tri_stage")
      .number(
          "warmup_length",
          kNegative,
          {0, kHuge},
          [](double v) { ask_recipe(tri_stage(v, 2, 3)); })
      .number(
          "hold_length",
          kNegative,
          {0, kHuge},
          [](double v) { ask_recipe(tri_stage(1, v, 3)); })
      .number("decay_length", kNegative, {0, kHuge}, [](double v) {
        ask_recipe(tri_stage(1, 2, v));
      });
  OptionCases(table, "flat_cosine", "flat_cosine")
      .number(
          "length",
          kNegative,
          {0, kHuge},
          [](double v) { ask_recipe(flat_cosine(v)); })
      .number(
          "flat_share",
          kNotShare,
          {0, 1},
          [](double v) { ask_recipe(flat_cosine(9, v)); })
      .number("floor", kNotShare, {0, 1}, [](double v) {
        ask_recipe(flat_cosine(9, 0.5, v));
      });
  OptionCases(table, "slanted_triangular", "slanted_triangular")
      .number(
          "length",
          kNegative,
          {0, kHuge},
          [](double v) { ask_recipe(slanted_triangular(v)); })
      .number(
          "cut_share",
          kNotShare,
          {0, 1},
          [](double v) { ask_recipe(slanted_triangular(9, v)); })
      .number(
          "ratio",
          {0, -1, 0.5, kNaN, kInfinity, -kInfinity},
          {1, kHuge},
          [](double v) { ask_recipe(slanted_triangular(9, 0.1, v)); });
}

}  // namespace

OptionTable schedule_options_table() {
  OptionTable table;
  add_cycles(table);
  add_one_cycle_recipe(table);
  add_other_recipes(table);
  return table;
}

}  // namespace stepsize::test
