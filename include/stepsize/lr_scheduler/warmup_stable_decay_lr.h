#pragma once

#include <stepsize/lr_scheduler/rule_lr.h>
#include <stepsize/schedule/ramp.h>
#include <stepsize/schedule/schedule.h>
#include <torch/arg.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace stepsize {

/// Options of WarmupStableDecayLR.
class WarmupStableDecayLROptions {
 public:
  WarmupStableDecayLROptions(
      int64_t warmup_steps, int64_t stable_steps, int64_t decay_steps)
      : warmup_steps_(warmup_steps),
        stable_steps_(stable_steps),
        decay_steps_(decay_steps) {}

  /// Steps of the linear warm-up, from base_lr / (warmup_steps + 1); >= 0.
  TORCH_ARG(int64_t, warmup_steps);
  /// Steps at the base rate; >= 0.
  TORCH_ARG(int64_t, stable_steps);
  /// Steps of the cooldown; >= 0.
  TORCH_ARG(int64_t, decay_steps);
  /// The curve of the cooldown, which begin_cooldown() follows too.
  TORCH_ARG(CooldownShape, cooldown_shape) = CooldownShape::kLinear;
  /// Factor of the base rate at the end; in [0, 1], > 0 for kExponential.
  TORCH_ARG(double, floor) = 0.0;

 public:
  /// Throws c10::Error where an option is out of its range.
  LRRule rule() const;
};

/// Warm-up, stable, decay (Hu et al. 2024, "MiniCPM"; cooldowns: Haegele et
/// al. 2024, "Scaling Laws and Compute-Optimal Training Beyond Fixed Training
/// Durations"): the run's length may be decided late, by begin_cooldown() at
/// any moment.
class WarmupStableDecayLR : public RuleLR {
 public:
  WarmupStableDecayLR(
      torch::optim::Optimizer& optimizer,
      const WarmupStableDecayLROptions& options);

  /// From the present step on, the rate falls from its present value by
  /// cooldown_shape to floor * base_lr, which it reaches `steps` > 0 later.
  /// A rate below the floor is held. A cooldown that was to come is replaced;
  /// the rates of the steps before stay what they were.
  void begin_cooldown(int64_t steps);

  std::function<void()> keep_options() override;

 protected:
  GroupRate rate_at(const LRGroup& group, double u) const override;
  double end() const override;
  const char* state_class() const override { return "WarmupStableDecayLR"; }
  void save_state(torch::serialize::OutputArchive& archive) const override;
  void load_state(
      torch::serialize::InputArchive& archive,
      const std::vector<double>& lrs) override;
  void take_options(const detail::NamedOptions& options) override;
  std::function<void()> straighten() override;

 private:
  struct Cooldown {
    double start;  // in the rule's time
    double length;
    double from;      // factor of the base rate
    Schedule factor;  // of the base rate, from `start` on
  };
  Cooldown make_cooldown(double start, double length, double from) const;
  double factor_at(double u) const;

  CooldownShape shape_;
  double floor_;
  Schedule schedule_;
  std::vector<Cooldown> cooldowns_;  // by start
};

}  // namespace stepsize
