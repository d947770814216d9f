#pragma once

#include <stepsize/adaptive/hypergradient_rates.h>
#include <stepsize/optim/indexed_optimizer.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/arg.h>

#include <cstddef>
#include <functional>
#include <tuple>
#include <vector>

namespace stepsize {

namespace detail {
struct AdamNumbers;
struct HypergradientAdamNumbers;
}  // namespace detail

/// Options of HypergradientAdam, named and preset as in its authors' code.
class HypergradientAdamOptions
    : public ListedOptions<HypergradientAdamOptions> {
 public:
  /// `lr`: where the rate starts, finite and >= 0.
  HypergradientAdamOptions(double lr = 1e-3);  // NOLINT: implicit

  using Betas = std::tuple<double, double>;

  TORCH_ARG(double, lr);
  /// Decay of the means of the gradient and of its square; each in [0, 1).
  TORCH_ARG(Betas, betas) = std::make_tuple(0.9, 0.999);
  /// Added to the denominator; finite and >= 0.
  TORCH_ARG(double, eps) = 1e-8;
  /// Added to the gradient; finite and >= 0.
  TORCH_ARG(double, weight_decay) = 0;
  /// Rate of the rate; finite and >= 0. In the multiplicative form the largest
  /// share that it changes by, 0.02 say; in the additive one what the gradient
  /// asks for.
  TORCH_ARG(double, hypergrad_lr) = 1e-8;
  TORCH_ARG(HypergradientForm, form) = HypergradientForm::kAdditive;

 public:
  static const OptionList<HypergradientAdamOptions>& option_list();
  static const OptimizerTraits& optimizer_traits();
};

/// Adam whose rate descends its own gradient (Baydin et al., Online Learning
/// Rate Adaptation with Hypergradient Descent, 2018, algorithm 6): that of
/// torch::optim::Adam with, for each group,
///
///   a = a + hypergrad_lr g . u     u = m / (1 - beta1^t) /
///                                      (sqrt(v / (1 - beta2^t)) + eps)
///
/// u being the direction of the update before, or by the multiplicative form.
/// What setting `lr` does: HypergradientRates. An additive rate may become
/// negative, as in the authors' code.
///
/// Cost a step on a CPU: 44 bytes moved a float32 parameter, in a pass for the
/// sums and one for the update; two buffers (float32 for half-precision
/// parameters).
class HypergradientAdam : public IndexedOptimizer {
 public:
  /// Throws c10::Error, naming option, rule and value, where an option is out
  /// of range.
  HypergradientAdam(
      std::vector<at::Tensor> parameters,
      const HypergradientAdamOptions& options = {});
  HypergradientAdam(
      const std::vector<torch::optim::OptimizerParamGroup>& groups,
      const HypergradientAdamOptions& defaults = {});

  /// One update. With a closure, which computes the loss and calls backward(),
  /// the loss is returned. Throws c10::Error where an option is out of range or
  /// a gradient does not fit its parameter; nothing has been changed then.
  at::Tensor step(LossClosure closure = nullptr) override;

  /// The group's rate in the last update; its `lr` where that is new.
  double current_lr(std::size_t group = 0) const;

 protected:
  bool has_deciding_counters() const override { return true; }

  void save_counters(torch::serialize::OutputArchive& archive) const override;
  std::function<void()> read_counters(
      torch::serialize::InputArchive& archive) override;

  /// What the loops do, by tensor operations, as on a device without them: the
  /// sums, and one parameter's update. `state` is in the order of the traits.
  static at::Tensor sums_by_operations(
      const at::Tensor& parameter,
      const at::Tensor& gradient,
      const std::vector<at::Tensor>& state,
      const detail::HypergradientAdamNumbers& numbers);
  static void step_by_operations(
      at::Tensor parameter,
      const at::Tensor& gradient,
      const std::vector<at::Tensor>& state,
      const detail::AdamNumbers& numbers);

 private:
  const HypergradientAdamOptions& options_of(std::size_t group) const;

  HypergradientRates rates_;
};

}  // namespace stepsize
