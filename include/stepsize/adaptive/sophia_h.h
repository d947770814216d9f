#pragma once

#include <stepsize/adaptive/diagonal_hessian_optimizer.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/arg.h>

#include <cstdint>
#include <tuple>
#include <vector>

namespace stepsize {

/// Options of SophiaH; rate, betas and decay are preset as in the paper's code,
/// gamma, eps and interval as in the paper.
class SophiaHOptions : public ListedOptions<SophiaHOptions> {
 public:
  /// `lr`: the longest step of a coordinate, finite and >= 0.
  SophiaHOptions(double lr = 1e-4);  // NOLINT: implicit, as LibTorch's

  using Betas = std::tuple<double, double>;

  TORCH_ARG(double, lr);
  /// Share of the mean of gradients, and of the mean of curvatures, that stays
  /// from one to the next; each in [0, 1).
  TORCH_ARG(Betas, betas) = std::make_tuple(0.965, 0.99);
  /// Factor of the curvature in the divisor; finite and >= 0. The smaller it
  /// is, the more coordinates move by lr; rho in the paper's code.
  TORCH_ARG(double, gamma) = 0.01;
  /// The smallest divisor; finite and >= 0.
  TORCH_ARG(double, eps) = 1e-12;
  /// Decoupled; finite and >= 0.
  TORCH_ARG(double, weight_decay) = 0.1;
  /// Updates a Hessian-vector product, >= 1.
  TORCH_ARG(int64_t, interval) = 10;
  /// Of the random vectors.
  TORCH_ARG(int64_t, seed) = 0;

 public:
  static const OptionList<SophiaHOptions>& option_list();
  static const OptimizerTraits& optimizer_traits();
};

/// Sophia with Hutchinson's estimate (Liu et al., Sophia: A Scalable Stochastic
/// Second-order Optimizer for Language Model Pre-training, 2023, algorithm 3).
/// For each parameter p with gradient g and D = z * Hz, where there is a
/// product:
///
///   m = beta1 m + (1 - beta1) g,   h = beta2 h + (1 - beta2) D
///   p = p - lr weight_decay p
///   p = p - lr clip(m / max(gamma h, eps), 1)
///
/// No coordinate moves by more than lr, its decay aside; where the curvature is
/// small or negative it moves by lr along the sign of m.
///
/// Cost: a product every `interval` steps, one to three gradients; two buffers.
class SophiaH : public DiagonalHessianOptimizer {
 public:
  /// Throws c10::Error, naming option, rule and value, where an option is out
  /// of range, and where interval or seed differ among groups.
  SophiaH(
      std::vector<at::Tensor> parameters, const SophiaHOptions& options = {});
  SophiaH(
      const std::vector<torch::optim::OptimizerParamGroup>& groups,
      const SophiaHOptions& defaults = {});

 protected:
  int64_t interval() const override;
  int64_t seed() const override;
  void apply(
      std::vector<ParameterUpdate>& updates,
      const std::vector<at::Tensor>& diagonals) override;

  /// One parameter's update by tensor operations, as on a device without a loop
  /// of ours; `curvature` is renewed already.
  static void step_by_operations(
      at::Tensor parameter,
      const at::Tensor& gradient,
      at::Tensor mean,
      const at::Tensor& curvature,
      const SophiaHOptions& options);

 private:
  const SophiaHOptions& options_of(std::size_t group) const;
};

}  // namespace stepsize
