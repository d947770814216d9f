#pragma once

#include <stepsize/optim/indexed_optimizer.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/arg.h>

#include <tuple>
#include <vector>

namespace stepsize {

/// Options of Lion, named and preset as in the paper's own code.
class LionOptions : public ListedOptions<LionOptions> {
 public:
  /// `lr`: step size, finite and >= 0. A third to a tenth of AdamW's.
  LionOptions(double lr = 1e-4);  // NOLINT: implicit, as LibTorch's

  using Betas = std::tuple<double, double>;

  TORCH_ARG(double, lr);
  /// Share of the mean in the direction, and share of it that stays from step
  /// to step; each in [0, 1).
  TORCH_ARG(Betas, betas) = std::make_tuple(0.9, 0.99);
  /// Decoupled; finite and >= 0. Three to ten times AdamW's, as the rate is so
  /// much smaller.
  TORCH_ARG(double, weight_decay) = 0;
  /// The form of the mean; that of a form from before is made anew by a step.
  TORCH_ARG(StateType, state_type) = StateType::kFloat32;

 public:
  static const OptionList<LionOptions>& option_list();
  static const OptimizerTraits& optimizer_traits();
};

/// Lion (Chen et al., Symbolic Discovery of Optimization Algorithms, 2023,
/// algorithm 2). For each parameter p with gradient g and mean m, 0 at first:
///
///   c = beta1 m + (1 - beta1) g
///   p = p - lr (sign(c) + weight_decay p)
///   m = beta2 m + (1 - beta2) g
///
/// sign(0) is 0, and of a NaN NaN: it shows in the parameter. Every coordinate
/// moves by lr however small its gradient is, so that the rate must fall for
/// the run to come to rest.
///
/// Cost a step on a CPU: 20 bytes moved a float32 parameter, in one pass; one
/// buffer (float32 for half-precision parameters).
class Lion : public IndexedOptimizer {
 public:
  /// Throws c10::Error, naming option, rule and value, where an option is out
  /// of range.
  Lion(std::vector<at::Tensor> parameters, const LionOptions& options = {});
  Lion(
      const std::vector<torch::optim::OptimizerParamGroup>& groups,
      const LionOptions& defaults = {});

  /// One update. With a closure, which computes the loss and calls backward(),
  /// the loss is returned. Throws c10::Error where an option is out of range or
  /// a gradient does not fit its parameter; nothing has been changed then.
  at::Tensor step(LossClosure closure = nullptr) override;

 protected:
  bool has_compact_state() const override { return true; }
  StateType state_type(std::size_t group) const override;

  /// One parameter's update by tensor operations, as on a device without a loop
  /// of ours. `mean` is of float32 for a half-precision parameter.
  static void step_by_operations(
      at::Tensor parameter,
      const at::Tensor& gradient,
      at::Tensor mean,
      const LionOptions& options);
};

}  // namespace stepsize
