#include "csrc/schedule/curves.h"

#include <stepsize/schedule/cycle.h>
#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/ramp.h>
#include <stepsize/schedule/recipe.h>

#include "csrc/schedule/ramp_node.h"

#include <cmath>
#include <limits>

namespace stepsize::detail {
namespace {

constexpr std::size_t kAny = std::numeric_limits<std::size_t>::max();

// A ramp whose ends stand behind `from` and `to`, and the numbers that bend it
// behind these keywords.
Schedule ramp(
    const Call& call,
    RampShape shape,
    const char* keyword1 = "",
    const char* keyword2 = "") {
  const RampParameters standard = default_parameters(shape);
  return make_ramp(
      call.name().text.c_str(),
      shape,
      call.duration_or_rest(0),
      call.value_or("from", 1),
      call.value_or("to", 0),
      {call.value_or(keyword1, standard.p1),
       call.value_or(keyword2, standard.p2)});
}

Schedule build_geometric(const Call& call) {
  return make_ramp(
      "geometric",
      RampShape::kGeometric,
      call.duration_or_rest(0),
      call.value_or("from", 1),
      call.value("to"));
}

Schedule build_warmup(const Call& call) {
  const double length = call.duration(0, "length");
  const WarmupShape shape =
      call.has_flag("cosine")        ? WarmupShape::kCosine
      : call.has_flag("exponential") ? WarmupShape::kExponential
      : call.has_flag("sqrt")        ? WarmupShape::kSqrt
      : call.has_flag("logarithmic") ? WarmupShape::kLogarithmic
                                     : WarmupShape::kLinear;
  // No number in a text is NaN.
  const double from = call.value_or("from", kNaN);
  return std::isnan(from) ? warmup(length, shape) : warmup(length, shape, from);
}

CooldownShape cooldown_shape(const Call& call) {
  return call.has_flag("cosine")        ? CooldownShape::kCosine
         : call.has_flag("sqrt")        ? CooldownShape::kSqrt
         : call.has_flag("square")      ? CooldownShape::kSquare
         : call.has_flag("exponential") ? CooldownShape::kExponential
         : call.has_flag("half_life")   ? CooldownShape::kHalfLife
                                        : CooldownShape::kLinear;
}

Schedule build_cooldown(const Call& call) {
  if (call.has_flag("exponential")) {
    return build_geometric(call);
  }
  switch (cooldown_shape(call)) {
    case CooldownShape::kCosine:
      return ramp(call, RampShape::kCosine);
    case CooldownShape::kSqrt:
      return ramp(call, RampShape::kSqrt);
    case CooldownShape::kSquare:
      return ramp(call, RampShape::kSquare);
    case CooldownShape::kHalfLife:
      return ramp(call, RampShape::kHalfLife);
    default:
      return ramp(call, RampShape::kLinear);
  }
}

Schedule build_power_cooldown(const Call& call) {
  const double length = call.duration_or_rest(0);
  const double power = call.value("power");
  // No number in a text is NaN.
  const double scale = call.value_or("scale", kNaN);
  return std::isnan(scale) ? power_cooldown(length, power)
                           : power_cooldown(length, power, scale);
}

Schedule build_multi_step(const Call& call) {
  std::vector<double> milestones;
  milestones.reserve(call.numbers.size());
  for (const Token& number : call.numbers) {
    milestones.push_back(call.resolve_duration(number));
  }
  return multi_step(std::move(milestones), call.value_or("gamma", 0.1));
}

Schedule build_piecewise(const Call& call) {
  std::vector<SchedulePoint> points;
  points.reserve(call.points.size());
  for (const auto& [t, factor] : call.points) {
    points.push_back({call.resolve_duration(t), call.resolve_number(factor)});
  }
  return piecewise(
      std::move(points),
      call.has_flag("cosine") ? Interpolation::kCosine
                              : Interpolation::kLinear);
}

Schedule build_cosine_restarts(const Call& call) {
  const LevelDecay decay = call.level_decay();
  CosineRestartsOptions options;
  options.stretch(call.value_or("stretch", 1))
      .cycles(call.count_or_forever("cycles"))
      .floor(decay.level);
  if (decay.of_height) {
    options.height_decay(decay.factor);
  } else {
    options.peak_decay(decay.factor);
  }
  return cosine_restarts(call.duration(0, "first cycle"), options);
}

Schedule build_polynomial_cycles(const Call& call) {
  return polynomial_cycles(
      call.duration(0, "length"),
      call.value_or("power", 1),
      call.value_or("to", 0));
}

TriangularOptions triangular_options(const Call& call) {
  TriangularOptions options;
  options.floor(call.value_or("from", options.floor()));
  const double down = call.duration_value_or("down", kNaN);
  return std::isnan(down) ? options : options.down(down);
}

Schedule build_one_cycle(const Call& call) {
  OneCycleOptions options;
  options.pct_start(call.value_or("pct", options.pct_start()))
      .div_factor(call.value_or("div", options.div_factor()))
      .final_div_factor(call.value_or("final_div", options.final_div_factor()))
      .three_phase(call.has_flag("three_phase"));
  if (call.has_flag("linear")) {
    options.anneal_strategy(AnnealStrategy::kLinear);
  }
  return one_cycle(call.duration_or_rest(0), options);
}

Schedule build_wsd(const Call& call) {
  const CooldownShape shape = cooldown_shape(call);
  // An exponential never reaches 0: it needs its floor said.
  const double floor = shape == CooldownShape::kExponential
                           ? call.value("to")
                           : call.value_or("to", 0);
  return warmup_stable_decay(
      call.duration(0, "warm-up"),
      call.duration(1, "stable part"),
      call.duration(2, "decay"),
      shape,
      floor);
}

Schedule build_tri_stage(const Call& call) {
  TriStageOptions options;
  options.init_scale(call.value_or("init", options.init_scale()))
      .final_scale(call.value_or("final", options.final_scale()));
  return tri_stage(
      call.duration(0, "warm-up"),
      call.duration(1, "hold"),
      call.duration(2, "decay"),
      options);
}

std::vector<CurveSpec> make_specs() {
  return {
      {"constant",
       "constant [FACTOR]",
       1,
       {},
       {},
       [](const Call& c) {
         return constant(c.numbers.empty() ? 1.0 : c.number(0, "factor"));
       }},
      {"linear",
       "linear [LENGTH] [from A] [to B]",
       1,
       {"from", "to"},
       {},
       [](const Call& c) { return ramp(c, RampShape::kLinear); }},
      {"warmup",
       "warmup LENGTH [linear|cosine|exponential|sqrt|logarithmic] [from A]",
       1,
       {"from"},
       {"linear", "cosine", "exponential", "sqrt", "logarithmic"},
       build_warmup},
      {"cooldown",
       "cooldown [LENGTH] [linear|cosine|sqrt|square|exponential|half_life] "
       "[from A] [to B]",
       1,
       {"from", "to"},
       {"linear", "cosine", "sqrt", "square", "exponential", "half_life"},
       build_cooldown},
      {"power_cooldown",
       "power_cooldown [LENGTH] power P [scale C]",
       1,
       {"power", "scale"},
       {},
       build_power_cooldown},
      {"cosine",
       "cosine [LENGTH] [from A] [to B] [k K] [exponent E]",
       1,
       {"from", "to", "k", "exponent"},
       {},
       [](const Call& c) {
         return ramp(c, RampShape::kCosine, "k", "exponent");
       }},
      {"polynomial",
       "polynomial [LENGTH] [power P] [from A] [to B] [k K]",
       1,
       {"power", "from", "to", "k"},
       {},
       [](const Call& c) {
         return ramp(c, RampShape::kPolynomial, "k", "power");
       }},
      {"geometric",
       "geometric [LENGTH] [from A] to B",
       1,
       {"from", "to"},
       {},
       build_geometric},
      {"rex",
       "rex [LENGTH] [from A] [to B]",
       1,
       {"from", "to"},
       {},
       [](const Call& c) { return ramp(c, RampShape::kRex); }},
      {"tanh",
       "tanh [LENGTH] [lower L] [upper U] [from A] [to B]",
       1,
       {"lower", "upper", "from", "to"},
       {},
       [](const Call& c) {
         return ramp(c, RampShape::kTanh, "lower", "upper");
       }},
      {"step",
       "step PERIOD [gamma G]",
       1,
       {"gamma"},
       {},
       [](const Call& c) {
         return step_decay(c.duration(0, "period"), c.value_or("gamma", 0.1));
       }},
      {"multi_step",
       "multi_step M1 M2 ... [gamma G]",
       kAny,
       {"gamma"},
       {},
       build_multi_step},
      {"exponential",
       "exponential GAMMA [every PERIOD]",
       1,
       {"every"},
       {},
       [](const Call& c) {
         return exponential(
             c.number(0, "gamma"), c.duration_value_or("every", 1));
       }},
      {"inverse_time",
       "inverse_time K [every PERIOD] [staircase]",
       1,
       {"every"},
       {"staircase"},
       [](const Call& c) {
         return inverse_time(
             c.number(0, "k"),
             c.duration_value_or("every", 1),
             c.has_flag("staircase"));
       }},
      {"inverse_sqrt",
       "inverse_sqrt TIMESCALE",
       1,
       {},
       {},
       [](const Call& c) { return inverse_sqrt(c.duration(0, "timescale")); }},
      {"noam",
       "noam WARMUP model_size D [scale C]",
       1,
       {"model_size", "scale"},
       {},
       [](const Call& c) {
         return noam(
             c.duration(0, "warm-up"),
             c.value("model_size"),
             c.value_or("scale", 1));
       }},
      {"piecewise",
       "piecewise T:FACTOR T:FACTOR ... [linear|cosine]",
       0,
       {},
       {"linear", "cosine"},
       build_piecewise},
      {"noise",
       "noise STDDEV [limit L] [seed S] [every PERIOD]",
       1,
       {"limit", "seed", "every"},
       {},
       [](const Call& c) {
         return noise(
             c.number(0, "standard deviation"),
             c.seed(),
             c.value_or("limit", 0.5),
             c.duration_value_or("every", 1));
       }},
      {"cosine_restarts",
       "cosine_restarts FIRST_CYCLE [stretch S] [decay D] [cycles N] "
       "[to M|above M]",
       1,
       {"stretch", "decay", "cycles", "to", "above"},
       {},
       build_cosine_restarts},
      {"polynomial_cycles",
       "polynomial_cycles LENGTH [power P] [to M]",
       1,
       {"power", "to"},
       {},
       build_polynomial_cycles},
      {"triangular",
       "triangular UP [down D] [from M]",
       1,
       {"down", "from"},
       {},
       [](const Call& c) {
         return triangular(c.duration(0, "rising half"), triangular_options(c));
       }},
      {"triangular2",
       "triangular2 UP [down D] [from M]",
       1,
       {"down", "from"},
       {},
       [](const Call& c) {
         return triangular2(
             c.duration(0, "rising half"), triangular_options(c));
       }},
      {"exp_range",
       "exp_range UP gamma G [down D] [from M]",
       1,
       {"gamma", "down", "from"},
       {},
       [](const Call& c) {
         return exp_range(
             c.duration(0, "rising half"),
             c.value("gamma"),
             triangular_options(c));
       }},
      {"one_cycle",
       "one_cycle [LENGTH] [pct P] [div D] [final_div F] [cosine|linear] "
       "[three_phase]",
       1,
       {"pct", "div", "final_div"},
       {"cosine", "linear", "three_phase"},
       build_one_cycle},
      {"wsd",
       "wsd WARMUP STABLE DECAY "
       "[linear|cosine|sqrt|square|exponential|half_life] [to M]",
       3,
       {"to"},
       {"linear", "cosine", "sqrt", "square", "exponential", "half_life"},
       build_wsd},
      {"tri_stage",
       "tri_stage WARMUP HOLD DECAY [init A] [final B]",
       3,
       {"init", "final"},
       {},
       build_tri_stage},
      {"flat_cosine",
       "flat_cosine [LENGTH] [flat SHARE] [to M]",
       1,
       {"flat", "to"},
       {},
       [](const Call& c) {
         return flat_cosine(
             c.duration_or_rest(0),
             c.value_or("flat", 0.75),
             c.value_or("to", 0));
       }},
      {"slanted_triangular",
       "slanted_triangular [LENGTH] [cut SHARE] [ratio R]",
       1,
       {"cut", "ratio"},
       {},
       [](const Call& c) {
         return slanted_triangular(
             c.duration_or_rest(0),
             c.value_or("cut", 0.1),
             c.value_or("ratio", 32));
       }},
  };
}

}  // namespace

const std::vector<CurveSpec>& curve_specs() {
  static const std::vector<CurveSpec> specs = make_specs();
  return specs;
}

}  // namespace stepsize::detail
