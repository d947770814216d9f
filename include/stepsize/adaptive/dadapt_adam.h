#pragma once

#include <stepsize/adaptive/distance_adam.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/arg.h>

#include <limits>
#include <tuple>
#include <vector>

namespace stepsize {

namespace detail {
struct DAdaptAdamNumbers;
}

/// Options of DAdaptAdam, named and preset as in its authors' code. Those that
/// the estimate goes by are the same in all groups.
class DAdaptAdamOptions : public ListedOptions<DAdaptAdamOptions> {
 public:
  /// `lr`: factor of the rate that is found, finite and >= 0. A schedule goes
  /// from 1 to 0.
  DAdaptAdamOptions(double lr = 1);  // NOLINT: implicit, as LibTorch's

  using Betas = std::tuple<double, double>;

  TORCH_ARG(double, lr);
  /// Decay of the means of the gradient and of its square; each in [0, 1). The
  /// sums that the estimate is made of decay by the root of the second.
  TORCH_ARG(Betas, betas) = std::make_tuple(0.9, 0.999);
  /// Added to the denominator; finite and > 0.
  TORCH_ARG(double, eps) = 1e-8;
  /// Finite and >= 0.
  TORCH_ARG(double, weight_decay) = 0;
  /// The decay shrinks the parameters, and does not enter the gradient.
  TORCH_ARG(bool, decouple) = false;
  /// Adam's factors 1 / (1 - beta^t).
  TORCH_ARG(bool, use_bias_correction) = false;
  /// First estimate of the distance, finite and > 0. Too small costs a few
  /// updates, too large is never undone.
  TORCH_ARG(double, d0) = 1e-6;
  /// By which factor the estimate may grow in an update, >= 1.
  TORCH_ARG(double, growth_rate) = std::numeric_limits<double>::infinity();

 public:
  static const OptionList<DAdaptAdamOptions>& option_list();
  static const OptimizerTraits& optimizer_traits();
};

/// Adam with D-Adaptation (Defazio and Mishchenko, Learning-Rate-Free Learning
/// by D-Adaptation, 2023, its variant of Adam): the rate is lr times d, an
/// estimate from below of the distance from the start to the solution. With r
/// and s 0 at first, b the root of beta2 and a = lr d:
///
///   r = b r + (1 - b) a <g, s / (sqrt(v) + eps)>
///   m = beta1 m + (1 - beta1) a g        v = beta2 v + (1 - beta2) g^2
///   s = b s + (1 - b) a g                p = p - m / (sqrt(v) + eps)
///   d = max(d, r / ((1 - b) |s|_1))
///
/// r and |s|_1 are of all parameters of all groups; see DistanceAdam.
///
/// Cost a step on a CPU: 36 bytes moved a float32 parameter, in one pass; three
/// buffers (float32 for half-precision parameters).
class DAdaptAdam : public DistanceAdam {
 public:
  /// Throws c10::Error, naming option, rule and value, where an option is out
  /// of range.
  DAdaptAdam(
      std::vector<at::Tensor> parameters,
      const DAdaptAdamOptions& options = {});
  DAdaptAdam(
      const std::vector<torch::optim::OptimizerParamGroup>& groups,
      const DAdaptAdamOptions& defaults = {});

 protected:
  double d0(const torch::optim::OptimizerOptions& options) const override;
  std::vector<double> update_all(
      std::vector<ParameterUpdate>& updates,
      const detail::GroupRates& rates) override;
  Estimate renewed(
      const Estimate& last,
      const std::vector<double>& sums,
      const detail::GroupRates& rates) override;

  /// One parameter's update by tensor operations, as on a device without a loop
  /// of ours; returns the sums that the loop makes. `state` is in the order of
  /// the traits.
  static at::Tensor step_by_operations(
      at::Tensor parameter,
      const at::Tensor& gradient,
      const std::vector<at::Tensor>& state,
      const detail::DAdaptAdamNumbers& numbers);

 private:
  const DAdaptAdamOptions& options_of(std::size_t group) const;
};

}  // namespace stepsize
