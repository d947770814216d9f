#pragma once

#include <stepsize/adaptive/diagonal_hessian_optimizer.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/arg.h>

#include <cstdint>
#include <tuple>
#include <vector>

namespace stepsize {

/// Options of AdaHessian, named and preset as in the paper's own code.
class AdaHessianOptions : public ListedOptions<AdaHessianOptions> {
 public:
  /// `lr`: step size, finite and >= 0; 1 is Newton's on a diagonal Hessian.
  AdaHessianOptions(double lr = 0.15);  // NOLINT: implicit, as LibTorch's

  using Betas = std::tuple<double, double>;

  TORCH_ARG(double, lr);
  /// Share of the mean of gradients, and of the mean of squared curvatures,
  /// that stays from step to step; each in [0, 1).
  TORCH_ARG(Betas, betas) = std::make_tuple(0.9, 0.999);
  /// Added to the divisor; finite and >= 0.
  TORCH_ARG(double, eps) = 1e-4;
  /// Decoupled; finite and >= 0.
  TORCH_ARG(double, weight_decay) = 0;
  /// Power of the curvature that divides, in [0, 1]: 1 as in Newton's method, 0
  /// plain momentum.
  TORCH_ARG(double, hessian_power) = 1;
  /// Whether the curvature of a convolution's weights is the mean over each
  /// kernel: over all dimensions but the first two.
  TORCH_ARG(bool, spatial_averaging) = true;
  /// Updates a Hessian-vector product, >= 1. One that changes in a run changes
  /// the correction of the curvature's mean as if it had always been so.
  TORCH_ARG(int64_t, interval) = 1;
  /// Of the random vectors.
  TORCH_ARG(int64_t, seed) = 0;

 public:
  static const OptionList<AdaHessianOptions>& option_list();
  static const OptimizerTraits& optimizer_traits();
};

/// AdaHessian (Yao et al., ADAHESSIAN: An Adaptive Second Order Optimizer for
/// Machine Learning, 2021, algorithm 1). For each parameter p with gradient g
/// and D = z * Hz, in the t-th update and the k-th product:
///
///   m = beta1 m + (1 - beta1) g,   v = beta2 v + (1 - beta2) D^2
///   d = sqrt(v / (1 - beta2^k)) ^ hessian_power + eps
///   p = p - lr (m / (1 - beta1^t) / d + weight_decay p)
///
/// Cost: a product every `interval` steps, one to three gradients; two buffers.
class AdaHessian : public DiagonalHessianOptimizer {
 public:
  /// Throws c10::Error, naming option, rule and value, where an option is out
  /// of range, and where interval or seed differ among groups.
  AdaHessian(
      std::vector<at::Tensor> parameters,
      const AdaHessianOptions& options = {});
  AdaHessian(
      const std::vector<torch::optim::OptimizerParamGroup>& groups,
      const AdaHessianOptions& defaults = {});

 protected:
  int64_t interval() const override;
  int64_t seed() const override;
  void apply(
      std::vector<ParameterUpdate>& updates,
      const std::vector<at::Tensor>& diagonals) override;

  /// One parameter's t-th update by tensor operations, as on a device without a
  /// loop of ours and for powers other than 1; `square` is renewed already.
  static void step_by_operations(
      at::Tensor parameter,
      const at::Tensor& gradient,
      at::Tensor mean,
      const at::Tensor& square,
      const AdaHessianOptions& options,
      int64_t t);

 private:
  const AdaHessianOptions& options_of(std::size_t group) const;
};

}  // namespace stepsize
