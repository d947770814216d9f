#pragma once

#include <stepsize/adaptive/hypergradient_rates.h>
#include <stepsize/optim/indexed_optimizer.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/arg.h>

#include <cstddef>
#include <functional>
#include <vector>

namespace stepsize {

namespace detail {
struct HypergradientSGDNumbers;
}

/// Options of HypergradientSGD, named as in its authors' code.
class HypergradientSGDOptions : public ListedOptions<HypergradientSGDOptions> {
 public:
  /// `lr`: where the rate starts, finite and >= 0.
  HypergradientSGDOptions(double lr = 1e-3);  // NOLINT: implicit, as LibTorch's

  TORCH_ARG(double, lr);
  /// In [0, 1).
  TORCH_ARG(double, momentum) = 0;
  /// The gradient enters the momentum with 1 - dampening; finite.
  TORCH_ARG(double, dampening) = 0;
  /// Added to the gradient; finite and >= 0.
  TORCH_ARG(double, weight_decay) = 0;
  /// Wants momentum > 0 and dampening 0.
  TORCH_ARG(bool, nesterov) = false;
  /// Rate of the rate; finite and >= 0. In the multiplicative form the largest
  /// share that it changes by, 0.02 say; in the additive one what the square of
  /// the gradient asks for.
  TORCH_ARG(double, hypergrad_lr) = 1e-6;
  TORCH_ARG(HypergradientForm, form) = HypergradientForm::kAdditive;

 public:
  static const OptionList<HypergradientSGDOptions>& option_list();
  static const OptimizerTraits& optimizer_traits();
};

/// SGD whose rate descends its own gradient (Baydin et al., Online Learning
/// Rate Adaptation with Hypergradient Descent, 2018, algorithms 4 and 5). For
/// each group with direction u, which is the gradient g or with momentum that
/// of torch::optim::SGD:
///
///   a = a + hypergrad_lr g . u(of the update before)     p = p - a u
///
/// or by the multiplicative form. What setting `lr` does: HypergradientRates.
/// An additive rate may become negative, as in the authors' code.
///
/// Cost a step on a CPU: 28 bytes moved a float32 parameter, in a pass for the
/// sums and one for the update; one buffer, two with nesterov (float32 for
/// half-precision parameters).
class HypergradientSGD : public IndexedOptimizer {
 public:
  /// Throws c10::Error, naming option, rule and value, where an option is out
  /// of range.
  HypergradientSGD(
      std::vector<at::Tensor> parameters,
      const HypergradientSGDOptions& options = {});
  HypergradientSGD(
      const std::vector<torch::optim::OptimizerParamGroup>& groups,
      const HypergradientSGDOptions& defaults = {});

  /// One update. With a closure, which computes the loss and calls backward(),
  /// the loss is returned. Throws c10::Error where an option is out of range or
  /// a gradient does not fit its parameter; nothing has been changed then.
  at::Tensor step(LossClosure closure = nullptr) override;

  /// The group's rate in the last update; its `lr` where that is new.
  double current_lr(std::size_t group = 0) const;

 protected:
  bool has_state(std::size_t group, std::size_t slot) const override;
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
      const detail::HypergradientSGDNumbers& numbers);
  static void step_by_operations(
      at::Tensor parameter,
      const at::Tensor& gradient,
      const std::vector<at::Tensor>& state,
      const detail::HypergradientSGDNumbers& numbers);

 private:
  const HypergradientSGDOptions& options_of(std::size_t group) const;
  std::vector<ParameterUpdate> own_updates();

  HypergradientRates rates_;
};

}  // namespace stepsize
