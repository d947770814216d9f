#pragma once

#include <stepsize/schedule/cycle.h>
#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/ramp.h>
#include <stepsize/schedule/recipe.h>
#include <stepsize/schedule/schedule.h>

#include <vector>

namespace stepsize::testing {

/// One schedule of every curve and shape, all of which stay within [0, 1.5].
inline std::vector<Schedule> every_curve() {
  return {
      constant(0.5),
      linear(100, 0.2, 0.7),
      warmup(100),
      warmup(100, WarmupShape::kCosine),
      warmup(100, WarmupShape::kExponential),
      warmup(100, WarmupShape::kSqrt, 0),
      cooldown(100),
      cooldown(100, CooldownShape::kCosine, 0.1),
      cooldown(100, CooldownShape::kSqrt),
      cooldown(100, CooldownShape::kSquare, 0.2),
      cooldown(100, CooldownShape::kExponential, 0.01),
      cosine(100, 0.3),
      cosine(100, 0, 3),
      cosine(100, 0.1, 2, 3),
      polynomial(100, 2, 0.1),
      polynomial(100, 0.5, 0.1, 2),
      geometric(100, 0.1, 0.9),
      rex(100),
      tanh_decay(100),
      step_decay(30),
      multi_step({30, 30, 60}, 0.5),
      exponential(0.99),
      exponential(0.5, 30),
      inverse_time(0.1, 10),
      inverse_time(0.1, 10, true),
      inverse_sqrt(100),
      noam(40, 512),
      piecewise({{10, 0.5}, {20, 1}, {50, 0}}),
      piecewise({{10, 0.5}, {20, 1}, {50, 0}}, Interpolation::kCosine),
      noise(0.1, 7, 0.5, 3),
      noise(1, 7, 0.4),
      cosine_restarts(10),
      cosine_restarts(
          10,
          CosineRestartsOptions().stretch(1.5).peak_decay(0.8).cycles(4).floor(
              0.1)),
      cosine_restarts(10, CosineRestartsOptions().height_decay(0.8).floor(0.1)),
      polynomial_cycles(10, 2, 0.1),
      triangular(10),
      triangular2(10, TriangularOptions().down(5).floor(0)),
      exp_range(10, 0.99),
      one_cycle(100),
      one_cycle(100, OneCycleOptions().three_phase(true)),
      warmup_stable_decay(10, 50, 40, CooldownShape::kSqrt),
      tri_stage(10, 50, 40),
      flat_cosine(100),
      slanted_triangular(100)};
}

/// One schedule of every combinator.
inline std::vector<Schedule> every_combination() {
  const Schedule base = warmup(10).then(cosine(90, 0.1));
  return {
      base,
      base.times(noise(0.1)),
      base.clamp(0.2, 0.8),
      base.repeat(),
      base.repeat(3, 1.5, 0.5),
      base.repeat(RepeatOptions().stretch(2).height_decay(0.5).floor(0.1)),
      base.repeat(RepeatOptions().count(3).peak_decay(0.5).floor(0.2)),
      base.stretch_to(37),
      base.shift(20),
      base.shift(-20),
      triangular(7).limit(50)};
}

/// Both lists.
inline std::vector<Schedule> every_schedule() {
  std::vector<Schedule> all = every_curve();
  for (const Schedule& schedule : every_combination()) {
    all.push_back(schedule);
  }
  return all;
}

}  // namespace stepsize::testing
