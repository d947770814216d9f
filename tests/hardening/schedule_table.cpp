// The schedules' factories and combinators.

#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/lint.h>
#include <stepsize/schedule/parse.h>
#include <stepsize/schedule/ramp.h>
#include <stepsize/schedule/schedule.h>

#include <limits>
#include <stdexcept>

#include "tests/hardening/option_table.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

// Its value wherever one may ask; growth beyond a double is no refusal of the
// knob's.
void ask(const Schedule& schedule) {
  for (const double t : {0.0, 0.5, 1.0, 100.0, 1e9, 0x1p53, kHuge}) {
    try {
      schedule(t);
    } catch (const std::domain_error&) {
    }
  }
  schedule.to_string();
}

using Make = Schedule (*)(double);

void add(
    OptionTable& table,
    const char* factory,
    const char* knob,
    const std::vector<double>& refused,
    const std::vector<double>& taken,
    Make make) {
  OptionCases(table, factory, factory)
      .number(knob, refused, taken, [make](double v) { ask(make(v)); });
}

void add_ramp_factories(OptionTable& table) {
  const std::vector<double> any = {0, kSmallest, kHuge};
  const std::vector<double> share = {0, kSmallest, 1};
  const std::vector<double> positive = {kSmallest, 1, kHuge};
  const auto& bad = kNegative;
  add(table, "constant", "factor", bad, any, [](double v) {
    return constant(v);
  });
  add(table, "linear", "length", bad, any, [](double v) { return linear(v); });
  add(table, "linear", "from", bad, any, [](double v) { return linear(9, v); });
  add(table, "linear", "to", bad, any, [](double v) {
    return linear(9, 1, v);
  });
  add(table, "warmup", "length", bad, any, [](double v) { return warmup(v); });
  add(table, "warmup", "from", kNotShare, share, [](double v) {
    return warmup(9, WarmupShape::kSqrt, v);
  });
  add(table, "warmup", "from", kNotShareOverZero, {kSmallest}, [](double v) {
    return warmup(9, WarmupShape::kExponential, v);
  });
  add(table, "cooldown", "length", bad, any, [](double v) {
    return cooldown(v);
  });
  add(table, "cooldown", "floor", kNotShare, share, [](double v) {
    return cooldown(9, CooldownShape::kCosine, v);
  });
  add(table, "cooldown", "floor", kNotShareOverZero, {kSmallest}, [](double v) {
    return cooldown(9, CooldownShape::kExponential, v);
  });
  add(table, "cosine", "length", bad, any, [](double v) { return cosine(v); });
  add(table, "cosine", "floor", kNotShare, share, [](double v) {
    return cosine(9, v);
  });
  add(table, "cosine", "k", kNotPositive, positive, [](double v) {
    return cosine(9, 0, v);
  });
  add(table, "cosine", "exponent", kNotPositive, positive, [](double v) {
    return cosine(9, 0, 1, v);
  });
  add(table, "polynomial", "k", kNotPositive, positive, [](double v) {
    return polynomial(9, 1, 0, v);
  });
  add(table, "polynomial", "length", bad, any, [](double v) {
    return polynomial(v);
  });
  add(table, "polynomial", "power", kNotPositive, positive, [](double v) {
    return polynomial(9, v);
  });
  add(table, "polynomial", "floor", kNotShare, share, [](double v) {
    return polynomial(9, 2, v);
  });
  add(table, "geometric", "length", bad, any, [](double v) {
    return geometric(v, 1, 0.1);
  });
  add(table, "geometric", "from", kNotPositive, positive, [](double v) {
    return geometric(9, v, 0.1);
  });
  add(table, "geometric", "to", kNotPositive, positive, [](double v) {
    return geometric(9, 1, v);
  });
  add(table, "rex", "length", bad, any, [](double v) { return rex(v); });
  add(table, "rex", "floor", kNotShare, share, [](double v) {
    return rex(9, v);
  });
  add(table, "tanh_decay", "length", bad, any, [](double v) {
    return tanh_decay(v);
  });
  add(table,
      "tanh_decay",
      "lower",
      {3, 4, kHuge, kNaN, kInfinity, -kInfinity},
      {-kHuge, 2.5},
      [](double v) { return tanh_decay(9, v, 3); });
  add(table, "tanh_decay", "floor", kNotShare, share, [](double v) {
    return tanh_decay(9, -6, 3, v);
  });
}

void add_decay_factories(OptionTable& table) {
  const std::vector<double> any = {0, kSmallest, kHuge};
  const std::vector<double> positive = {kSmallest, 1, kHuge};
  const auto& bad = kNegative;
  add(table, "step_decay", "period", kNotPositive, positive, [](double v) {
    return step_decay(v);
  });
  add(table, "step_decay", "gamma", bad, any, [](double v) {
    return step_decay(9, v);
  });
  add(table, "multi_step", "milestone", bad, any, [](double v) {
    return multi_step({v});
  });
  add(table, "multi_step", "milestones", {1, 2}, {3, kHuge}, [](double v) {
    return multi_step({3, v});
  });
  add(table, "multi_step", "gamma", bad, any, [](double v) {
    return multi_step({3}, v);
  });
  add(table, "exponential", "gamma", kNotPositive, positive, [](double v) {
    return exponential(v);
  });
  add(table, "exponential", "period", kNotPositive, positive, [](double v) {
    return exponential(0.5, v);
  });
  add(table, "inverse_time", "k", bad, any, [](double v) {
    return inverse_time(v);
  });
  add(table, "inverse_time", "period", kNotPositive, positive, [](double v) {
    return inverse_time(1, v);
  });
  add(table, "inverse_sqrt", "timescale", kNotPositive, positive, [](double v) {
    return inverse_sqrt(v);
  });
  add(table, "noam", "warmup_steps", kNotPositive, positive, [](double v) {
    return noam(v, 512);
  });
  add(table, "noam", "model_size", kNotPositive, positive, [](double v) {
    return noam(4000, v);
  });
  add(table, "noam", "scale", kNotPositive, positive, [](double v) {
    return noam(4000, 512, v);
  });
  add(table, "piecewise", "t", bad, any, [](double v) {
    return piecewise({{v, 1}});
  });
  add(table, "piecewise", "t", {1, 2}, {3, kHuge}, [](double v) {
    return piecewise({{2, 1}, {v, 0}});
  });
  add(table, "piecewise", "factor", bad, any, [](double v) {
    return piecewise({{2, v}});
  });
  add(table,
      "noise",
      "stddev",
      {-1, -kSmallest, kNaN, -kInfinity},
      {0, kSmallest, 0.5, 0.51, kHuge, kInfinity},
      [](double v) { return noise(v); });
  add(table, "noise", "limit", kNotShareOverZero, {0.1, 1}, [](double v) {
    return noise(0.1, 0, v);
  });
  add(table, "noise", "period", kNotPositive, positive, [](double v) {
    return noise(0.1, 0, 0.5, v);
  });
  add(table,
      "callable",
      "length",
      {-1, -kSmallest, kNaN, -kInfinity},
      {0, kInfinity},
      [](double v) { return callable([](double) { return 1.0; }, v); });
}

void add_combinators(OptionTable& table) {
  const auto& bad = kNegative;
  add(table, "limit", "length", bad, {0, kHuge}, [](double v) {
    return constant().limit(v);
  });
  add(table, "stairs", "period", kNotPositive, {kSmallest}, [](double v) {
    return linear(9).stairs(v);
  });
  add(table, "stretch_to", "length", kNotPositive, {kSmallest}, [](double v) {
    return linear(9).stretch_to(v);
  });
  add(table,
      "shift",
      "delay",
      {-10, kNaN, kInfinity},
      {-9, kHuge},
      [](double v) { return linear(9).shift(v); });
  add(table, "clamp", "low", bad, {0, 0.5}, [](double v) {
    return linear(9).clamp(v, 0.5);
  });
  add(table, "clamp", "high", {0.4, -1, kNaN}, {0.5, kInfinity}, [](double v) {
    return linear(9).clamp(0.5, v);
  });
  const std::vector<double> not_stretch = {0, -1, 0.5, kNaN, kInfinity};
  add(table, "repeat", "stretch", not_stretch, {1, kHuge}, [](double v) {
    return linear(9).repeat(3, v);
  });
  add(table,
      "repeat",
      "decay",
      kNotShareOverZero,
      {kSmallest, 1},
      [](double v) { return linear(9).repeat(3, 1, v); });
  OptionCases(table, "repeat", "repeat")
      .count("count", {0, -2, INT64_MIN}, {1, -1, kMostCount}, [](int64_t v) {
        ask(linear(9).repeat(v));
      });
  OptionCases(table, "lint", "lint")
      .number("run_length", kNotPositive, {kSmallest, kHuge}, [](double v) {
        lint(linear(9), v);
      });
  OptionCases(table, "ParseContext", "ParseContext")
      .number(
          "steps_per_epoch",
          bad,
          {0, kHuge},
          [](double v) {
            parse("constant", {v, 0});
          })
      .number("run_length", bad, {0, kHuge}, [](double v) {
        parse("constant", {0, v});
      });
  OptionCases(table, "Schedule", "Schedule")
      .number("t", {-1, -kSmallest, kNaN, -kInfinity}, {0}, [](double v) {
        linear(9)(v);
      });
}

}  // namespace

OptionTable schedule_table() {
  OptionTable table;
  add_ramp_factories(table);
  add_decay_factories(table);
  add_combinators(table);
  return table;
}

}  // namespace stepsize::test
