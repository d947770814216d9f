#pragma once

#include <stepsize/lr_scheduler/per_group.h>
#include <stepsize/lr_scheduler/rule_lr.h>
#include <stepsize/schedule/recipe.h>
#include <torch/arg.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <utility>

namespace stepsize {

/// Options of OneCycleLR. Either total_steps is given, or epochs and
/// steps_per_epoch are, whose product it then is.
class OneCycleLROptions {
 public:
  /// The peak, for all groups or one a group.
  OneCycleLROptions(PerGroup max_lr)  // NOLINT: implicit, as in LibTorch
      : max_lr_(std::move(max_lr)) {}
  /// One peak a group; so braces make a list, and OneCycleLROptions{0.1} is
  /// for an optimizer of one group.
  OneCycleLROptions(std::initializer_list<double> max_lr) : max_lr_(max_lr) {}

  /// The peak; finite and >= 0.
  TORCH_ARG(PerGroup, max_lr);
  /// Steps of the cycle, t = 0 .. total_steps - 1; > 0.
  TORCH_ARG(std::optional<int64_t>, total_steps) = std::nullopt;
  /// Epochs of the run; > 0.
  TORCH_ARG(std::optional<int64_t>, epochs) = std::nullopt;
  /// Steps of an epoch; > 0.
  TORCH_ARG(std::optional<int64_t>, steps_per_epoch) = std::nullopt;
  /// Share of the steps before the peak; in [0, 1], and at most 1/2 with
  /// three_phase. Defaults here and below: Python's.
  TORCH_ARG(double, pct_start) = 0.3;
  /// How the rate passes from phase to phase.
  TORCH_ARG(AnnealStrategy, anneal_strategy) = AnnealStrategy::kCosine;
  /// Whether the momentum goes down when the rate goes up. The optimizer's
  /// options must then have one; see MomentumAccess.
  TORCH_ARG(bool, cycle_momentum) = true;
  /// The momentum at the peak; in [0, 1).
  TORCH_ARG(PerGroup, base_momentum) = 0.85;
  /// The momentum at both ends; in [0, 1).
  TORCH_ARG(PerGroup, max_momentum) = 0.95;
  /// Peak over first rate; >= 1.
  TORCH_ARG(double, div_factor) = 25.0;
  /// First over last rate; > 0.
  TORCH_ARG(double, final_div_factor) = 1e4;
  /// Back to the first rate before going down to the last one, as in the
  /// paper.
  TORCH_ARG(bool, three_phase) = false;
  /// Where the momentum of another optimizer than LibTorch's is.
  TORCH_ARG(MomentumAccess, momentum_access);

 public:
  /// Throws c10::Error where an option is out of its range.
  LRRule rule() const;
};

/// One cycle (Smith & Topin 2018, "Super-Convergence"): from
/// max_lr / div_factor up to max_lr at t = pct_start total_steps - 1, and down
/// to max_lr / (div_factor final_div_factor) at t = total_steps - 1, which is
/// held afterwards (Python's raises). The momentum goes from max_momentum to
/// base_momentum and back. Python: torch.optim.lr_scheduler.OneCycleLR.
///
/// The groups' own rates do not matter, but for a group added later: its own
/// rate is its max_lr.
class OneCycleLR : public RuleLR {
 public:
  OneCycleLR(
      torch::optim::Optimizer& optimizer, const OneCycleLROptions& options);

  /// As RuleLR::extend; new_length is the new total_steps, so that the last
  /// rate comes at t = new_length - 1.
  void extend(int64_t new_length) override;
};

}  // namespace stepsize
