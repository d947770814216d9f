#pragma once

#include <stepsize/adaptive/schedule_free_optimizer.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/arg.h>

#include <cstdint>
#include <memory>
#include <tuple>
#include <vector>

namespace stepsize {

/// Options of ScheduleFreeAdamW, named and preset as in the authors' own code.
class ScheduleFreeAdamWOptions
    : public ListedOptions<ScheduleFreeAdamWOptions> {
 public:
  /// `lr`: step size, finite and >= 0. One to ten times that of an AdamW with a
  /// schedule.
  ScheduleFreeAdamWOptions(double lr = 2.5e-3);  // NOLINT: implicit

  using Betas = std::tuple<double, double>;

  TORCH_ARG(double, lr);
  /// Share of the mean x in the point where gradients are taken, in (0, 1), and
  /// share of the mean of squares that stays from step to step, in [0, 1).
  TORCH_ARG(Betas, betas) = std::make_tuple(0.9, 0.999);
  /// Added to the root of that mean; finite and >= 0.
  TORCH_ARG(double, eps) = 1e-8;
  /// Decoupled, and of y; finite and >= 0.
  TORCH_ARG(double, weight_decay) = 0;
  /// Updates in which the rate rises in a line; >= 0.
  TORCH_ARG(int64_t, warmup_steps) = 0;
  /// The mean weighs update t by t^r; finite and >= 0.
  TORCH_ARG(double, r) = 0;
  /// And by the largest rate so far to this power; finite and >= 0.
  TORCH_ARG(double, weight_lr_power) = 2;

 public:
  static const OptionList<ScheduleFreeAdamWOptions>& option_list();
  static const OptimizerTraits& optimizer_traits();
};

/// Schedule-Free AdamW (Defazio et al., The Road Less Scheduled, 2024,
/// algorithm 1), a ScheduleFreeOptimizer whose direction is, for the gradient g
/// at y and the mean v of squares, 0 at first:
///
///   v = beta2 v + (1 - beta2) g^2
///   d = g / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay y
///
/// Needs no schedule, as it is at its best at whatever update it is stopped; a
/// warm-up helps. Not for half-precision parameters in long runs: x moves by
/// 1/t of a step.
///
/// Cost a step on a CPU: 28 bytes moved a float32 parameter, in one pass, and
/// two buffers, as AdamW's; each of train() and eval() is a pass more.
class ScheduleFreeAdamW : public ScheduleFreeOptimizer {
 public:
  /// Throws c10::Error, naming option, rule and value, where an option is out
  /// of range.
  ScheduleFreeAdamW(
      std::vector<at::Tensor> parameters,
      const ScheduleFreeAdamWOptions& options = {});
  ScheduleFreeAdamW(
      const std::vector<torch::optim::OptimizerParamGroup>& groups,
      const ScheduleFreeAdamWOptions& defaults = {});

 protected:
  /// One parameter's update by tensor operations, as on a device without a loop
  /// of ours. `z` and `square` are of float32 for a half-precision parameter.
  static void step_by_operations(
      at::Tensor parameter,
      const at::Tensor& gradient,
      at::Tensor z,
      at::Tensor square,
      int64_t step,
      const ScheduleFreeAdamWOptions& options,
      const AveragedStep& averaged);

  Averaging averaging(
      const torch::optim::OptimizerOptions& options) const override;
  void update_all(
      const std::vector<ParameterUpdate>& updates,
      const std::vector<AveragedStep>& steps) override;
};

}  // namespace stepsize
