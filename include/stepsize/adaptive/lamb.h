#pragma once

#include <stepsize/optim/indexed_optimizer.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/arg.h>

#include <limits>
#include <tuple>
#include <vector>

namespace stepsize {

/// Options of LAMB, preset as in the paper.
class LAMBOptions : public ListedOptions<LAMBOptions> {
 public:
  /// `lr`: share of its length by which a layer moves in a step; finite and
  /// >= 0.
  LAMBOptions(double lr = 1e-3);  // NOLINT: implicit, as LibTorch's

  using Betas = std::tuple<double, double>;

  TORCH_ARG(double, lr);
  /// Share of the mean of gradients, and of the mean of their squares, that
  /// stays from step to step; each in [0, 1).
  TORCH_ARG(Betas, betas) = std::make_tuple(0.9, 0.999);
  /// Added to the root of the mean of squares; finite and >= 0.
  TORCH_ARG(double, eps) = 1e-6;
  /// Part of the direction, before its norm is taken; finite and >= 0.
  TORCH_ARG(double, weight_decay) = 0;
  /// Whether the two means are corrected for their start at 0.
  TORCH_ARG(bool, bias_correction) = true;
  /// Bound of the trust ratio; > 0. Without one as in the paper.
  TORCH_ARG(double, max_trust_ratio) = std::numeric_limits<double>::infinity();
  /// Whether the group's parameters are scaled by their trust ratio.
  TORCH_ARG(bool, adapt) = true;
  /// Whether those of fewer than two dimensions are scaled and decay, too.
  TORCH_ARG(bool, adapt_vectors) = false;

 public:
  static const OptionList<LAMBOptions>& option_list();
  static const OptimizerTraits& optimizer_traits();
};

/// LAMB (You et al., Large Batch Optimization for Deep Learning, 2020,
/// algorithm 2). For each parameter w with gradient g, in the t-th update:
///
///   m = beta1 m + (1 - beta1) g,   v = beta2 v + (1 - beta2) g^2
///   r = m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps) + weight_decay w
///   w = w - lr (|w| / |r|) r
///
/// A layer moves by lr |w|. The ratio is 1 where |w| or |r| is 0, and for
/// parameters of fewer than two dimensions, which have no decay either: biases,
/// and what norms scale by. What is not finite shows in the whole layer.
///
/// Cost a step on a CPU: 40 bytes moved a float32 parameter, in two passes, or
/// 28 of a layer small enough to be in the cache still; two buffers.
class LAMB : public IndexedOptimizer {
 public:
  /// Throws c10::Error, naming option, rule and value, where an option is out
  /// of range.
  LAMB(std::vector<at::Tensor> parameters, const LAMBOptions& options = {});
  LAMB(
      const std::vector<torch::optim::OptimizerParamGroup>& groups,
      const LAMBOptions& defaults = {});

  /// One update. With a closure, which computes the loss and calls backward(),
  /// the loss is returned. Throws c10::Error where an option is out of range or
  /// a gradient does not fit its parameter; nothing has been changed then. (A
  /// rank that is lost between the passes leaves the means moved.)
  at::Tensor step(LossClosure closure = nullptr) override;

 protected:
  /// The two passes of one parameter's t-th update by tensor operations, as on
  /// a device without loops of ours: the first one renews the means, and
  /// returns r.
  static at::Tensor direction_by_operations(
      const at::Tensor& parameter,
      const at::Tensor& gradient,
      at::Tensor mean,
      at::Tensor square,
      const LAMBOptions& options,
      int64_t t);
  static void step_by_operations(
      at::Tensor parameter, const at::Tensor& direction, double step_size);
};

}  // namespace stepsize
