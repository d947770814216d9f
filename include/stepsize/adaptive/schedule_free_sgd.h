#pragma once

#include <stepsize/adaptive/schedule_free_optimizer.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/arg.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace stepsize {

/// Options of ScheduleFreeSGD, named and preset as in the authors' own code.
class ScheduleFreeSGDOptions : public ListedOptions<ScheduleFreeSGDOptions> {
 public:
  /// `lr`: step size, finite and >= 0. Ten to fifty times that of an SGD with
  /// momentum 0.9 and a schedule.
  ScheduleFreeSGDOptions(double lr = 1.0);  // NOLINT: implicit

  TORCH_ARG(double, lr);
  /// Share of the mean x in the point where gradients are taken; in (0, 1). The
  /// paper's beta.
  TORCH_ARG(double, momentum) = 0.9;
  /// Added to the gradient, times y; finite and >= 0.
  TORCH_ARG(double, weight_decay) = 0;
  /// Updates in which the rate rises in a line; >= 0.
  TORCH_ARG(int64_t, warmup_steps) = 0;
  /// The mean weighs update t by t^r; finite and >= 0.
  TORCH_ARG(double, r) = 0;
  /// And by the largest rate so far to this power; finite and >= 0.
  TORCH_ARG(double, weight_lr_power) = 2;

 public:
  static const OptionList<ScheduleFreeSGDOptions>& option_list();
  static const OptimizerTraits& optimizer_traits();
};

/// Schedule-Free SGD (Defazio et al., The Road Less Scheduled, 2024), a
/// ScheduleFreeOptimizer whose direction is, for the gradient g at y,
///
///   d = g + weight_decay y
///
/// Cost a step on a CPU: 20 bytes moved a float32 parameter, in one pass; one
/// buffer, as SGD with momentum.
class ScheduleFreeSGD : public ScheduleFreeOptimizer {
 public:
  /// Throws c10::Error, naming option, rule and value, where an option is out
  /// of range.
  ScheduleFreeSGD(
      std::vector<at::Tensor> parameters,
      const ScheduleFreeSGDOptions& options = {});
  ScheduleFreeSGD(
      const std::vector<torch::optim::OptimizerParamGroup>& groups,
      const ScheduleFreeSGDOptions& defaults = {});

 protected:
  /// One parameter's update by tensor operations, as on a device without a loop
  /// of ours. `z` is of float32 for a half-precision parameter.
  static void step_by_operations(
      at::Tensor parameter,
      const at::Tensor& gradient,
      at::Tensor z,
      const ScheduleFreeSGDOptions& options,
      const AveragedStep& averaged);

  Averaging averaging(
      const torch::optim::OptimizerOptions& options) const override;
  void update_all(
      const std::vector<ParameterUpdate>& updates,
      const std::vector<AveragedStep>& steps) override;
};

}  // namespace stepsize
