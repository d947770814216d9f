#pragma once

#include <stepsize/optim/clipped_optimizer.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/arg.h>

#include <memory>
#include <vector>

namespace stepsize {

/// Options of ClippedSGD, named and preset as torch::optim::SGDOptions where
/// both have them.
class ClippedSGDOptions : public ListedOptions<ClippedSGDOptions> {
 public:
  /// `lr`: step size, finite and >= 0.
  ClippedSGDOptions(double lr);  // NOLINT: implicit, as LibTorch's

  TORCH_ARG(double, lr);
  /// Share of the buffer that stays from step to step; in [0, 1).
  TORCH_ARG(double, momentum) = 0;
  /// The gradient enters the buffer with 1 - dampening; finite.
  TORCH_ARG(double, dampening) = 0;
  /// Finite and >= 0.
  TORCH_ARG(double, weight_decay) = 0;
  /// Nesterov's momentum; wants momentum > 0 and dampening 0.
  TORCH_ARG(bool, nesterov) = false;
  /// Ascend instead.
  TORCH_ARG(bool, maximize) = false;
  /// Shrink the parameters by 1 - lr * weight_decay, rather than add
  /// weight_decay * parameter to the (clipped) gradient (Loshchilov and Hutter,
  /// Decoupled Weight Decay Regularization, 2019).
  TORCH_ARG(bool, decoupled_weight_decay) = false;
  /// The longest gradient that is not clipped; > 0, infinity turns clipping
  /// off. All groups together have one norm, so max_norm, norm_type and
  /// non_finite must be the same in all of them. 1 is the usual
  /// choice; see last_grad_norm() for the norms that your model has.
  TORCH_ARG(double, max_norm) = 1.0;
  /// The norm that is measured.
  TORCH_ARG(NormType, norm_type) = NormType::kTwo;
  /// What becomes of a step whose gradient is not finite.
  TORCH_ARG(NonFiniteGradient, non_finite) = NonFiniteGradient::kSkip;
  /// The form of the state; that of a form from before is made anew by a step.
  TORCH_ARG(StateType, state_type) = StateType::kFloat32;

 public:
  static const OptionList<ClippedSGDOptions>& option_list();
  static const OptimizerTraits& optimizer_traits();
};

/// Stochastic gradient descent with the gradient clipped to a norm, in one pass
/// for the norm and one for the update. With s of ClippedOptimizer, for each
/// parameter p with gradient g and buffer b:
///
///   d = s g + weight_decay p
///   b = momentum b + (1 - dampening) d       (b = d in the first step)
///   p = p - lr b                   (Nesterov: p - lr (d + momentum b))
///
/// With max_norm infinite this is torch::optim::SGD.
///
/// When not to use it: where clipped_steps() is nearly every step, the rate is
/// that of normalized gradient descent and no longer follows the curvature.
///
/// Cost a step on a CPU: 16 bytes moved a float32 parameter, 24 with momentum;
/// one buffer with momentum (float32 for half-precision parameters).
class ClippedSGD : public ClippedOptimizer {
 public:
  /// Throws c10::Error, naming option, rule and value, where an option is out
  /// of range.
  ClippedSGD(
      std::vector<at::Tensor> parameters, const ClippedSGDOptions& options);
  ClippedSGD(
      const std::vector<torch::optim::OptimizerParamGroup>& groups,
      const ClippedSGDOptions& defaults);

 protected:
  bool has_compact_state() const override { return true; }
  StateType state_type(std::size_t group) const override;
  ClipOptions clip_options(
      const torch::optim::OptimizerOptions& options) const override;
  void update_group(
      std::size_t group,
      const std::vector<at::Tensor>& parameters,
      const std::vector<at::Tensor>& gradients,
      const at::Tensor& grad_scale) override;
};

}  // namespace stepsize
