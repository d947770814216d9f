#include <stepsize/schedule/recipe.h>

#include "csrc/schedule/check.h"
#include "csrc/schedule/ramp_node.h"

#include <cmath>

namespace stepsize {

using detail::make_ramp;
using detail::RampShape;

OneCycleOptions& OneCycleOptions::pct_start(double value) {
  detail::check_share(value, "one_cycle", "pct_start");
  pct_start_ = value;
  return *this;
}

OneCycleOptions& OneCycleOptions::div_factor(double value) {
  detail::check(value >= 1, "one_cycle", "div_factor must be >= 1", value);
  div_factor_ = value;
  return *this;
}

OneCycleOptions& OneCycleOptions::final_div_factor(double value) {
  detail::check(value > 0, "one_cycle", "final_div_factor must be > 0", value);
  final_div_factor_ = value;
  return *this;
}

OneCycleOptions& OneCycleOptions::anneal_strategy(AnnealStrategy value) {
  anneal_strategy_ = value;
  return *this;
}

OneCycleOptions& OneCycleOptions::three_phase(bool value) {
  three_phase_ = value;
  return *this;
}

Schedule one_cycle(double length, const OneCycleOptions& options) {
  detail::check_length(length, "one_cycle", "length");
  detail::check(
      !options.three_phase() || options.pct_start() <= 0.5,
      "one_cycle",
      "pct_start must be <= 1/2 with three phases",
      options.pct_start());
  const double initial = 1 / options.div_factor();
  const double final = initial / options.final_div_factor();
  detail::check(
      std::isfinite(final),
      "one_cycle",
      "final_div_factor must leave the end in the range of a double",
      options.final_div_factor());
  const double up = options.pct_start() * length;
  const auto anneal = [&options](double duration, double from, double to) {
    const bool linear = options.anneal_strategy() == AnnealStrategy::kLinear;
    return make_ramp(
        "one_cycle",
        linear ? RampShape::kLinear : RampShape::kCosine,
        duration,
        from,
        to);
  };
  const Schedule rise = anneal(up, initial, 1);
  if (options.three_phase()) {
    return rise.then(anneal(up, 1, initial))
        .then(anneal(length - 2 * up, initial, final));
  }
  return rise.then(anneal(length - up, 1, final));
}

Schedule warmup_stable_decay(
    double warmup_length,
    double stable_length,
    double decay_length,
    CooldownShape shape,
    double floor) {
  detail::check_length(warmup_length, "warmup_stable_decay", "warmup_length");
  detail::check_length(stable_length, "warmup_stable_decay", "stable_length");
  detail::check_length(decay_length, "warmup_stable_decay", "decay_length");
  detail::check_floor(
      floor, "warmup_stable_decay", shape == CooldownShape::kExponential);
  return warmup(warmup_length)
      .then(constant().limit(stable_length))
      .then(cooldown(decay_length, shape, floor));
}

TriStageOptions& TriStageOptions::init_scale(double value) {
  detail::check_share(value, "tri_stage", "init_scale");
  init_scale_ = value;
  return *this;
}

TriStageOptions& TriStageOptions::final_scale(double value) {
  detail::check(
      value > 0 && value <= 1,
      "tri_stage",
      "final_scale must be in (0, 1]",
      value);
  final_scale_ = value;
  return *this;
}

Schedule tri_stage(
    double warmup_length,
    double hold_length,
    double decay_length,
    const TriStageOptions& options) {
  detail::check_length(warmup_length, "tri_stage", "warmup_length");
  detail::check_length(hold_length, "tri_stage", "hold_length");
  detail::check_length(decay_length, "tri_stage", "decay_length");
  return warmup(warmup_length, WarmupShape::kLinear, options.init_scale())
      .then(constant().limit(hold_length))
      .then(cooldown(
          decay_length, CooldownShape::kExponential, options.final_scale()));
}

Schedule flat_cosine(double length, double flat_share, double floor) {
  detail::check_length(length, "flat_cosine", "length");
  detail::check_share(flat_share, "flat_cosine", "flat_share");
  detail::check_floor(floor, "flat_cosine");
  const double flat = flat_share * length;
  return constant().limit(flat).then(cosine(length - flat, floor));
}

Schedule slanted_triangular(double length, double cut_share, double ratio) {
  detail::check_length(length, "slanted_triangular", "length");
  detail::check_share(cut_share, "slanted_triangular", "cut_share");
  detail::check(
      ratio >= 1 && std::isfinite(ratio),
      "slanted_triangular",
      "ratio must be >= 1 and finite",
      ratio);
  const double up = cut_share * length;
  return linear(up, 1 / ratio, 1).then(linear(length - up, 1, 1 / ratio));
}

}  // namespace stepsize
