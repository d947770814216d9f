#pragma once

#include <ATen/core/Tensor.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace stepsize {

/// One parameter in the update to come, for a Preconditioner.
struct ComingUpdate {
  /// Of the parameter's group.
  const torch::optim::OptimizerOptions& options;
  /// What the optimizer keeps for it, in the order of OptimizerTraits::state();
  /// undefined where there is none yet.
  const std::vector<at::Tensor>& state;
  /// The number of the update; 1 for the parameter's first.
  int64_t step;
  /// As the rule sees it: clipped, with the coupled weight decay in it. Of
  /// float32 or float64.
  at::Tensor gradient;
};

/// P of a rule that divides by coordinate, p = p - lr P^-1 (mean of g): a
/// tensor of the parameter's shape. It changes nothing.
using Preconditioner = std::function<at::Tensor(const ComingUpdate&)>;

/// What the gradient is multiplied by before all else, given the gradients of
/// all parameters that have one: the coefficient of clipping.
using GradientFactor = std::function<double(
    const torch::optim::Optimizer&, const std::vector<at::Tensor>&)>;

/// What coming_preconditioner() returns; one entry a parameter that requires a
/// gradient, in the order of the groups.
struct PreconditionedUpdate {
  /// P over the factor of clipping; undefined where there is no gradient. It
  /// has zeros and NaN where the rule itself divides by them.
  std::vector<at::Tensor> diagonal;
  /// The coupled weight decay over that factor.
  std::vector<double> decay;
  /// The smallest ComingUpdate::step; 0 where no parameter has a gradient.
  int64_t step = 0;
};

/// The preconditioner P that the coming update of an optimizer has with these
/// gradients: from its state as it is, one update on. With s the factor of
/// clipping, the loss's Hessian H enters that update as
///
///   lr P^-1 (s H + decay) = lr (P / s)^-1 (H + decay / s)
///
/// Adam's is (1 - beta1^t) (sqrt(v / (1 - beta2^t)) + eps), with v of after the
/// update (Cohen et al. 2022, arXiv:2207.14484). `gradients` are those of the
/// loss, one for each parameter that requires one, by groups; undefined where a
/// parameter has none, whose state then rests. Throws c10::Error where the
/// OptimizerTraits name no preconditioner, where the state cannot be read, and
/// where a gradient is sparse or of another shape.
PreconditionedUpdate coming_preconditioner(
    torch::optim::Optimizer& optimizer,
    const std::vector<at::Tensor>& gradients);

}  // namespace stepsize
