#pragma once

#include <stepsize/optim/indexed_optimizer.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/arg.h>

#include <vector>

namespace stepsize {

/// Options of LARS.
class LARSOptions : public ListedOptions<LARSOptions> {
 public:
  /// `lr`: factor of every layer's own rate, and the rate itself of what has
  /// none; finite and >= 0.
  LARSOptions(double lr = 1.0);  // NOLINT: implicit, as LibTorch's

  TORCH_ARG(double, lr);
  /// Share of the momentum that stays from step to step; in [0, 1).
  TORCH_ARG(double, momentum) = 0.9;
  /// Added to the gradient; finite and >= 0.
  TORCH_ARG(double, weight_decay) = 0;
  /// Wants momentum > 0.
  TORCH_ARG(bool, nesterov) = false;
  /// Part of its length by which a layer moves at rate 1, without momentum;
  /// finite and >= 0.
  TORCH_ARG(double, trust_coefficient) = 1e-3;
  /// Added to the norms that divide; finite and >= 0.
  TORCH_ARG(double, eps) = 0;
  /// Whether the group's parameters are scaled by their trust ratio.
  TORCH_ARG(bool, adapt) = true;
  /// Whether those of fewer than two dimensions are scaled and decay, too.
  TORCH_ARG(bool, adapt_vectors) = false;

 public:
  static const OptionList<LARSOptions>& option_list();
  static const OptimizerTraits& optimizer_traits();
};

/// LARS (You, Gitman and Ginsburg, Large Batch Training of Convolutional
/// Networks, 2017, algorithm 1). For each parameter w with gradient g:
///
///   s = trust_coefficient |w| / (|g| + weight_decay |w| + eps)
///   v = momentum v + s (g + weight_decay w)
///   w = w - lr v
///
/// or lr (s (g + weight_decay w) + momentum v) with nesterov. A gradient that
/// is longer as a whole changes nothing, where there is neither decay nor eps.
/// s is 1 where |w| or |g| is 0, and for parameters of fewer than two
/// dimensions, which have no decay either: biases, and what norms scale by.
/// What is not finite shows in the whole layer.
///
/// Cost a step on a CPU: 28 bytes moved a float32 parameter, in two passes, or
/// 20 of a layer small enough to be in the cache still; one buffer.
class LARS : public IndexedOptimizer {
 public:
  /// Throws c10::Error, naming option, rule and value, where an option is out
  /// of range.
  LARS(std::vector<at::Tensor> parameters, const LARSOptions& options = {});
  LARS(
      const std::vector<torch::optim::OptimizerParamGroup>& groups,
      const LARSOptions& defaults = {});

  /// One update. With a closure, which computes the loss and calls backward(),
  /// the loss is returned. Throws c10::Error where an option is out of range or
  /// a gradient does not fit its parameter; nothing has been changed then.
  at::Tensor step(LossClosure closure = nullptr) override;

 protected:
  /// One parameter's update by tensor operations, as on a device without a loop
  /// of ours. `trust_ratio` is what the gradient and the decay count times.
  static void step_by_operations(
      at::Tensor parameter,
      const at::Tensor& gradient,
      at::Tensor momentum,
      const LARSOptions& options,
      double trust_ratio);
};

}  // namespace stepsize
