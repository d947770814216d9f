#pragma once

#include <stepsize/optim/clipped_optimizer.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/arg.h>

#include <memory>
#include <tuple>
#include <vector>

namespace stepsize {

/// Options of ClippedAdamW, named and preset as torch::optim::AdamWOptions
/// where both have them.
class ClippedAdamWOptions : public ListedOptions<ClippedAdamWOptions> {
 public:
  /// `lr`: step size, finite and >= 0.
  ClippedAdamWOptions(double lr = 1e-3);  // NOLINT: implicit, as LibTorch's

  using Betas = std::tuple<double, double>;

  TORCH_ARG(double, lr);
  /// Decay of the means of the gradient and of its square; each in [0, 1).
  TORCH_ARG(Betas, betas) = std::make_tuple(0.9, 0.999);
  /// Added to the denominator; finite and >= 0.
  TORCH_ARG(double, eps) = 1e-8;
  /// Decoupled; finite and >= 0.
  TORCH_ARG(double, weight_decay) = 1e-2;
  /// Divide by the largest mean of squares so far (Reddi, Kale, Kumar 2018).
  TORCH_ARG(bool, amsgrad) = false;
  /// Ascend instead.
  TORCH_ARG(bool, maximize) = false;
  /// Leave out coordinates whose update goes against their gradient; see
  /// adam_step().
  TORCH_ARG(bool, cautious) = false;
  /// The schedule's largest rate: the decay is then weight_decay lr / peak_lr
  /// (that ratio 1 at most), which keeps the norm of normalized layers' weights
  /// as the rate falls (AdamC: Defazio, Why Gradients Rapidly Increase Near the
  /// End of Training, 2025). Meant for the group of such layers; 0: off. Finite
  /// and >= 0.
  TORCH_ARG(double, peak_lr) = 0;
  /// As in ClippedSGDOptions.
  TORCH_ARG(double, max_norm) = 1.0;
  TORCH_ARG(NormType, norm_type) = NormType::kTwo;
  TORCH_ARG(NonFiniteGradient, non_finite) = NonFiniteGradient::kSkip;
  /// The form of the state; that of a form from before is made anew by a step.
  TORCH_ARG(StateType, state_type) = StateType::kFloat32;

 public:
  static const OptionList<ClippedAdamWOptions>& option_list();
  static const OptimizerTraits& optimizer_traits();
};

/// AdamW (Loshchilov and Hutter, Decoupled Weight Decay Regularization, 2019)
/// with the gradient clipped to a norm, in one pass for the norm and one for
/// the update. With s of ClippedOptimizer, for each parameter p with gradient
/// g, in its step t:
///
///   p = p - lr weight_decay p
///   m = beta1 m + (1 - beta1) s g
///   v = beta2 v + (1 - beta2) (s g)^2
///   p = p - lr / (1 - beta1^t) m / (sqrt(v / (1 - beta2^t)) + eps)
///
/// With max_norm infinite this is torch::optim::AdamW. Adam's update does not
/// change when all gradients are scaled alike: clipping matters where it makes
/// a rare long gradient count like the others in m and v.
///
/// A step that is skipped leaves t alone on a CPU. On an accelerator the host
/// does not hear of it, and t counts it.
///
/// Cost a step on a CPU: 32 bytes moved a float32 parameter, 40 with amsgrad;
/// two or three buffers (float32 for half-precision parameters).
class ClippedAdamW : public ClippedOptimizer {
 public:
  /// Throws c10::Error, naming option, rule and value, where an option is out
  /// of range.
  ClippedAdamW(
      std::vector<at::Tensor> parameters,
      const ClippedAdamWOptions& options = {});
  ClippedAdamW(
      const std::vector<torch::optim::OptimizerParamGroup>& groups,
      const ClippedAdamWOptions& defaults = {});

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
