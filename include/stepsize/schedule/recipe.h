#pragma once

#include <stepsize/schedule/ramp.h>
#include <stepsize/schedule/schedule.h>

#include <cstdint>

namespace stepsize {

// Whole-run schedules by name. Each is a composition of ramps and prints as
// one, so that its text says what it does.

/// How a one-cycle schedule passes between its phases.
enum class AnnealStrategy : std::uint8_t { kCosine, kLinear };

/// Knobs of one_cycle(); each setter returns the options.
class OneCycleOptions {
 public:
  /// Share of the length at which the peak stands; in [0, 1].
  OneCycleOptions& pct_start(double value);
  /// Peak over initial factor; >= 1, infinity starts at zero.
  OneCycleOptions& div_factor(double value);
  /// Initial over final factor; > 0, infinity ends at zero.
  OneCycleOptions& final_div_factor(double value);
  OneCycleOptions& anneal_strategy(AnnealStrategy value);
  /// Back to the initial factor first, as fast as it rose, then down to the
  /// final one, as the paper has it. pct_start must then be <= 1/2.
  OneCycleOptions& three_phase(bool value);

  double pct_start() const { return pct_start_; }
  double div_factor() const { return div_factor_; }
  double final_div_factor() const { return final_div_factor_; }
  AnnealStrategy anneal_strategy() const { return anneal_strategy_; }
  bool three_phase() const { return three_phase_; }

 private:
  double pct_start_ = 0.3;
  double div_factor_ = 25.0;
  double final_div_factor_ = 1e4;
  AnnealStrategy anneal_strategy_ = AnnealStrategy::kCosine;
  bool three_phase_ = false;
};

/// One cycle (Smith & Topin 2018): up from 1/div_factor to 1 at pct_start of
/// the length, then down to 1/(div_factor final_div_factor) at its end. Text:
/// `one_cycle LENGTH pct P div D final_div F [linear] [three_phase]`.
Schedule one_cycle(double length, const OneCycleOptions& options = {});

/// Warm-up, stable, decay (Hu et al. 2024; cooldown shapes: Haegele et al.
/// 2024). Text: `wsd WARMUP STABLE DECAY [SHAPE] to M`.
Schedule warmup_stable_decay(
    double warmup_length,
    double stable_length,
    double decay_length,
    CooldownShape shape = CooldownShape::kLinear,
    double floor = 0.0);

/// Knobs of tri_stage(); each setter returns the options.
class TriStageOptions {
 public:
  /// The factor at t = 0; in [0, 1].
  TriStageOptions& init_scale(double value);
  /// The factor at the end; in (0, 1].
  TriStageOptions& final_scale(double value);

  double init_scale() const { return init_scale_; }
  double final_scale() const { return final_scale_; }

 private:
  double init_scale_ = 0.01;
  double final_scale_ = 0.01;
};

/// Tri-stage (Park et al. 2019, SpecAugment): linear warm-up, hold,
/// exponential decay. Text: `tri_stage WARMUP HOLD DECAY init A final B`.
Schedule tri_stage(
    double warmup_length,
    double hold_length,
    double decay_length,
    const TriStageOptions& options = {});

/// Flat for `flat_share` of the length, then half a cosine to `floor`. Text:
/// `flat_cosine LENGTH flat SHARE to M`.
Schedule flat_cosine(
    double length, double flat_share = 0.75, double floor = 0.0);

/// Slanted triangular (Howard & Ruder 2018, eq. 3): up from 1/ratio to 1 in
/// `cut_share` of the length, then down to 1/ratio, both linear. Text:
/// `slanted_triangular LENGTH cut SHARE ratio R`.
Schedule slanted_triangular(
    double length, double cut_share = 0.1, double ratio = 32.0);

}  // namespace stepsize
