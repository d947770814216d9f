#pragma once

#include <stepsize/adaptive/distance_adam.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/arg.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <tuple>
#include <vector>

namespace stepsize {

namespace detail {
struct ProdigyNumbers;
}

/// Options of Prodigy, named and preset as in its authors' code. Those that the
/// estimate goes by are the same in all groups.
class ProdigyOptions : public ListedOptions<ProdigyOptions> {
 public:
  /// `lr`: factor of the rate that is found, finite and >= 0. A schedule goes
  /// from 1 to 0.
  ProdigyOptions(double lr = 1);  // NOLINT: implicit, as LibTorch's

  using Betas = std::tuple<double, double>;

  TORCH_ARG(double, lr);
  /// Decay of the means of the gradient and of its square; each in [0, 1).
  TORCH_ARG(Betas, betas) = std::make_tuple(0.9, 0.999);
  /// Decay of the sums that the estimate is made of, in [0, 1); 0: the square
  /// root of beta2.
  TORCH_ARG(double, beta3) = 0;
  /// Added to the denominator, times d; finite and > 0.
  TORCH_ARG(double, eps) = 1e-8;
  /// Finite and >= 0.
  TORCH_ARG(double, weight_decay) = 0;
  /// The decay shrinks the parameters, and does not enter the gradient.
  TORCH_ARG(bool, decouple) = true;
  /// Adam's factors 1 / (1 - beta^t).
  TORCH_ARG(bool, use_bias_correction) = false;
  /// Gradients of a warm-up weigh in the denominator of the estimate as if the
  /// rate were there already.
  TORCH_ARG(bool, safeguard_warmup) = false;
  /// First estimate of the distance, finite and > 0. Too small costs a few
  /// updates, too large is never undone.
  TORCH_ARG(double, d0) = 1e-6;
  /// Factor of the estimate, finite and > 0: what to tune, if anything.
  TORCH_ARG(double, d_coef) = 1;
  /// By which factor the estimate may grow in an update, >= 1; its first growth
  /// is free.
  TORCH_ARG(double, growth_rate) = std::numeric_limits<double>::infinity();
  /// The estimate goes by every slice_p-th element of each parameter alone, so
  /// that s and p0 take that part of the memory; >= 1. Not to be changed once a
  /// step was made.
  TORCH_ARG(int64_t, slice_p) = 1;

 public:
  static const OptionList<ProdigyOptions>& option_list();
  static const OptimizerTraits& optimizer_traits();
};

/// Prodigy (Mishchenko and Defazio, Prodigy: An Expeditiously Adaptive
/// Parameter-Free Learner, 2023, algorithm 4): Adam whose rate is lr times d,
/// an estimate from below of the largest distance |p0 - p*| of a coordinate
/// from its best value. With p0 the start, r and s 0 at first:
///
///   m = beta1 m + (1 - beta1) d g        v = beta2 v + (1 - beta2) (d g)^2
///   r = beta3 r + lr d^2 <g, p0 - p>     s = beta3 s + lr d^2 g
///   p = p - lr d m / (sqrt(v) + d eps)
///   d = max(d, d_coef r / |s|_1)
///
/// r and |s|_1 are of all parameters of all groups; see DistanceAdam.
///
/// Cost a step on a CPU: 40 bytes moved a float32 parameter, in one pass; four
/// buffers (float32 for half-precision parameters). With slice_p two, and 2 /
/// slice_p of one.
class Prodigy : public DistanceAdam {
 public:
  /// Throws c10::Error, naming option, rule and value, where an option is out
  /// of range.
  Prodigy(
      std::vector<at::Tensor> parameters, const ProdigyOptions& options = {});
  Prodigy(
      const std::vector<torch::optim::OptimizerParamGroup>& groups,
      const ProdigyOptions& defaults = {});

 protected:
  /// Sliced, s and p0 are extras of the parameter.
  bool has_state(std::size_t group, std::size_t slot) const override;
  double d0(const torch::optim::OptimizerOptions& options) const override;
  std::vector<double> update_all(
      std::vector<ParameterUpdate>& updates,
      const detail::GroupRates& rates) override;
  Estimate renewed(
      const Estimate& last,
      const std::vector<double>& sums,
      const detail::GroupRates& rates) override;

  void save_counters(torch::serialize::OutputArchive& archive) const override;
  std::function<void()> read_counters(
      torch::serialize::InputArchive& archive) override;

  /// One parameter's update by tensor operations, as on a device without a loop
  /// of ours; returns the sums that the loop makes. `state` is in the order of
  /// the traits.
  static at::Tensor step_by_operations(
      at::Tensor parameter,
      const at::Tensor& gradient,
      const std::vector<at::Tensor>& state,
      const detail::ProdigyNumbers& numbers);
  /// The same without s and p0: of a parameter whose estimate is sliced.
  static void step_whole_by_operations(
      at::Tensor parameter,
      const at::Tensor& gradient,
      const std::vector<at::Tensor>& state,
      const detail::ProdigyNumbers& numbers);

 private:
  const ProdigyOptions& options_of(std::size_t group) const;
  void check_slicing(const std::vector<ParameterUpdate>& updates);
  std::vector<ParameterUpdate> sampled(
      const std::vector<ParameterUpdate>& updates);
  void keep_slices(
      const std::vector<ParameterUpdate>& updates,
      const std::vector<ParameterUpdate>& samples);

  double largest_ = 0;   ///< what d may grow to
  int64_t slice_p_ = 0;  ///< that of the first step; 0 before it
};

}  // namespace stepsize
