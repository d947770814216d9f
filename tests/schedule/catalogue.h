#pragma once

#include <stepsize/schedule/cycle.h>
#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/ramp.h>
#include <stepsize/schedule/recipe.h>
#include <stepsize/schedule/schedule.h>

#include <algorithm>
#include <vector>

namespace stepsize::testing {

/// A schedule in C++ and as text, as docs/schedules.md has them side by side.
struct CatalogueRow {
  Schedule schedule;
  const char* text;
};

/// Every curve at least once; all of them stay within [0, 1.7]. A new one has
/// its row here, and with it takes part in what is tested of every schedule.
inline std::vector<CatalogueRow> curve_rows() {
  return {
      {constant(0.5), "constant 0.5"},
      {warmup(100), "warmup 100"},
      {warmup(100, WarmupShape::kCosine), "warmup 100 cosine"},
      {warmup(100, WarmupShape::kExponential), "warmup 100 exponential"},
      {warmup(100, WarmupShape::kSqrt), "warmup 100 sqrt"},
      {warmup(100, WarmupShape::kLogarithmic), "warmup 100 logarithmic"},
      {warmup(100, WarmupShape::kLinear, 0.2), "warmup 100 linear from 0.2"},
      {linear(1000), "linear 1000"},
      {linear(1000, 0.8, 0.1), "linear 1000 from 0.8 to 0.1"},
      {cosine(1000), "cosine 1000"},
      {cosine(1000, 0.2), "cosine 1000 to 0.2"},
      {cosine(1000, 0, 2), "cosine 1000 k 2"},
      {cosine(1000, 0, 1, 2), "cosine 1000 exponent 2"},
      {polynomial(1000, 2), "polynomial 1000 power 2"},
      {polynomial(1000, 0.5, 0, 2), "polynomial 1000 power 0.5 k 2"},
      {geometric(1000, 1, 0.01), "geometric 1000 to 0.01"},
      {rex(1000), "rex 1000"},
      {tanh_decay(1000), "tanh 1000"},
      {cosine(1000, 0, 0.5), "cosine 1000 k 0.5"},
      {cosine(1000, 0, 4), "cosine 1000 k 4"},
      {polynomial(1000, 0.5), "polynomial 1000 power 0.5"},
      {polynomial(1000, 4, 0.1), "polynomial 1000 power 4 to 0.1"},
      {tanh_decay(1000, -3, 3), "tanh 1000 lower -3 upper 3"},
      {cooldown(100), "cooldown 100"},
      {cooldown(100, CooldownShape::kCosine), "cooldown 100 cosine"},
      {cooldown(100, CooldownShape::kSqrt), "cooldown 100 sqrt"},
      {cooldown(100, CooldownShape::kSquare), "cooldown 100 square"},
      {cooldown(100, CooldownShape::kExponential, 0.01),
       "cooldown 100 exponential to 0.01"},
      {cooldown(100, CooldownShape::kHalfLife), "cooldown 100 half_life"},
      {power_cooldown(1000, 2), "power_cooldown 1000 power 2"},
      {power_cooldown(1000, 0.5, 0.05),
       "power_cooldown 1000 power 0.5 scale 0.05"},
      {step_decay(250, 0.5), "step 250 gamma 0.5"},
      {multi_step({500, 750}, 0.3), "multi_step 500 750 gamma 0.3"},
      {exponential(0.997), "exponential 0.997"},
      {exponential(0.5, 250), "exponential 0.5 every 250"},
      {inverse_time(1, 100), "inverse_time 1 every 100"},
      {inverse_time(1, 100, true), "inverse_time 1 every 100 staircase"},
      {inverse_sqrt(50), "inverse_sqrt 50"},
      {noam(100, 400, 200), "noam 100 model_size 400 scale 200"},
      {cosine_restarts(100, CosineRestartsOptions().stretch(2)),
       "cosine_restarts 100 stretch 2"},
      {cosine_restarts(
           250, CosineRestartsOptions().peak_decay(0.7).cycles(3).floor(0.05)),
       "cosine_restarts 250 decay 0.7 cycles 3 to 0.05"},
      {cosine_restarts(
           250, CosineRestartsOptions().height_decay(0.7).floor(0.05)),
       "cosine_restarts 250 decay 0.7 above 0.05"},
      {polynomial_cycles(250, 2, 0.05),
       "polynomial_cycles 250 power 2 to 0.05"},
      {triangular(125), "triangular 125"},
      {triangular2(125), "triangular2 125"},
      {exp_range(125, 0.998, TriangularOptions().floor(0.1)),
       "exp_range 125 gamma 0.998 from 0.1"},
      {triangular(50, TriangularOptions().down(450).floor(0)),
       "triangular 50 down 450 from 0"},
      {one_cycle(1000), "one_cycle 1000"},
      {one_cycle(
           1000, OneCycleOptions().anneal_strategy(AnnealStrategy::kLinear)),
       "one_cycle 1000 linear"},
      {one_cycle(1000, OneCycleOptions().three_phase(true)),
       "one_cycle 1000 three_phase"},
      {one_cycle(1000, OneCycleOptions().pct_start(0.1).div_factor(5)),
       "one_cycle 1000 pct 0.1 div 5"},
      {warmup_stable_decay(50, 650, 300), "wsd 50 650 300"},
      {warmup_stable_decay(50, 650, 300, CooldownShape::kCosine),
       "wsd 50 650 300 cosine"},
      {warmup_stable_decay(50, 650, 300, CooldownShape::kSqrt),
       "wsd 50 650 300 sqrt"},
      {warmup_stable_decay(50, 650, 300, CooldownShape::kSquare, 0.1),
       "wsd 50 650 300 square to 0.1"},
      {warmup_stable_decay(50, 650, 300, CooldownShape::kExponential, 0.01),
       "wsd 50 650 300 exponential to 0.01"},
      {tri_stage(100, 400, 500), "tri_stage 100 400 500"},
      {flat_cosine(1000), "flat_cosine 1000"},
      {slanted_triangular(1000), "slanted_triangular 1000"},
      {piecewise({{0, 0.1}, {200, 1}, {600, 0.4}, {1000, 0}}),
       "piecewise 0:0.1 200:1 600:0.4 1000:0"},
      {piecewise(
           {{0, 0.1}, {200, 1}, {600, 0.4}, {1000, 0}}, Interpolation::kCosine),
       "piecewise 0:0.1 200:1 600:0.4 1000:0 cosine"},
      {noise(0.1, 7), "noise 0.1 seed 7"},
      {noise(1, 0, 0.67), "noise 1 limit 0.67"}};
}

/// Curves that are put together.
inline std::vector<CatalogueRow> combination_rows() {
  return {
      {warmup(50).then(inverse_sqrt(50)), "warmup 50 > inverse_sqrt 50"},
      {cosine(1000) * noise(0.1, 7, 0.5, 10),
       "cosine 1000 * noise 0.1 seed 7 every 10"},
      {warmup(100).then(cosine(900)), "warmup 100 > cosine 900"},
      {warmup(200) * cosine(1000), "warmup 200 * cosine 1000"},
      {exponential(0.99).limit(500), "exponential 0.99 for 500"},
      {cosine(1000).clamp(0.2, 0.8), "cosine 1000 clamp 0.2 0.8"},
      {cosine(100).repeat(), "cosine 100 repeat"},
      {cosine(100).repeat(3, 2, 0.5),
       "cosine 100 repeat 3 stretch 2 decay 0.5"},
      {rex(100, 0.1).repeat(RepeatOptions().peak_decay(0.5).floor(0.1)),
       "rex 100 to 0.1 repeat decay 0.5 to 0.1"},
      {rex(100, 0.1).repeat(RepeatOptions().height_decay(0.5).floor(0.1)),
       "rex 100 to 0.1 repeat decay 0.5 above 0.1"},
      {cosine(400).stretch_to(1000), "cosine 400 stretch_to 1000"},
      {cosine(400).shift(300), "cosine 400 shift 300"},
      {cosine(400).stairs(40), "cosine 400 stairs 40"},
      {cosine(400).shift(-100), "cosine 400 shift -100"}};
}

/// Those of curve_rows() and other shapes.
inline std::vector<Schedule> every_curve() {
  std::vector<Schedule> all = {
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
      cooldown(100, CooldownShape::kHalfLife, 0.1),
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
  for (const CatalogueRow& row : curve_rows()) {
    if (std::find(all.begin(), all.end(), row.schedule) == all.end()) {
      all.push_back(row.schedule);
    }
  }
  return all;
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
      base.stairs(7),
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
