#pragma once

#include <stepsize/optim/indexed_optimizer.h>
#include <stepsize/optim/rollback_rule.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/arg.h>

#include <functional>
#include <memory>
#include <vector>

namespace stepsize {

namespace detail {
class RollbackEngine;
}  // namespace detail

/// Options of RollbackSGD, named and preset as torch::optim::SGDOptions where
/// both have them.
class RollbackSGDOptions : public ListedOptions<RollbackSGDOptions> {
 public:
  /// `lr`: step size, finite and >= 0.
  RollbackSGDOptions(double lr);  // NOLINT: implicit, as LibTorch's

  TORCH_ARG(double, lr);
  /// Share of the buffer that stays from step to step; in [0, 1).
  TORCH_ARG(double, momentum) = 0;
  /// The gradient enters the buffer with 1 - dampening; finite.
  TORCH_ARG(double, dampening) = 0;
  /// Finite and >= 0.
  TORCH_ARG(double, weight_decay) = 0;
  /// Nesterov's momentum; wants momentum > 0 and dampening 0.
  TORCH_ARG(bool, nesterov) = false;
  /// When steps are taken back. All groups go back together: the numbers must
  /// be the same in all of them. The buffers of all are put back.
  TORCH_ARG(RollbackOptions, rollback);

 public:
  static const OptionList<RollbackSGDOptions>& option_list();
  static const OptimizerTraits& optimizer_traits();
};

/// Stochastic gradient descent that takes back the steps that made the gradient
/// grow, and goes on with a smaller rate. For each parameter p with gradient g
/// and buffer b, and the scale c of RollbackRule:
///
///   d = g + weight_decay p
///   b = momentum b + (1 - dampening) d       (b = d in the first step)
///   p = p - c lr b                 (Nesterov: p - c lr (d + momentum b))
///
/// With no rollback this is torch::optim::SGD. Where RollbackRule finds that
/// the last steps must go, parameters, buffers b and the buffers of the options
/// are put back to the earlier point bit for bit, and the update is made from
/// there: with a closure, which confirms it, by the gradient of this
/// mini-batch; else by the gradient that the earlier point had. The group's own
/// rate stays what its scheduler makes it: c comes on top.
///
/// The closure computes the loss on one mini-batch, clears the gradients and
/// calls backward(); it may be called twice in a step and must then see the
/// same mini-batch. Random numbers (dropout) are the same both times. Give it
/// in every step or in none: after a step with one there is no gradient of the
/// earlier point to go on by, and a rollback in a step without makes no update
/// then, though last_status() is kRolledBack.
///
/// Cost: one copy of parameters and state, written once in `window` steps or
/// more often, but for what is frozen: has no gradient, asks for none and has
/// no state. Of the gradients too without closure or confirm; one more of
/// parameters and gradients in a step that is suspect. One norm a step, which
/// the host waits for; a second evaluation in a step that is suspect, in a few
/// per cent of the steps.
///
/// When not to use it: where lr is known to be stable it only costs. It is no
/// search for the best rate: it finds one that does not diverge, at any speed.
/// Without a closure slow growth goes 10 times as far until it is seen.
class RollbackSGD : public IndexedOptimizer {
 public:
  /// Throws c10::Error, naming option, rule and value, where an option is out
  /// of range.
  RollbackSGD(
      std::vector<at::Tensor> parameters, const RollbackSGDOptions& options);
  RollbackSGD(
      const std::vector<torch::optim::OptimizerParamGroup>& groups,
      const RollbackSGDOptions& defaults);
  ~RollbackSGD() override;

  /// One step. Returns the closure's loss at the point that the update is made
  /// from. Throws c10::Error where a gradient does not fit its parameter or is
  /// sparse; nothing has been changed then.
  at::Tensor step(LossClosure closure = nullptr) override;

  /// Counters, last status and scale of the rate.
  const RollbackRule& rule() const;
  double rate_scale() const { return rule().rate_scale(); }
  int64_t rollbacks() const { return rule().rollbacks(); }
  RollbackStatus last_status() const { return rule().last_status(); }
  /// To be called after the parameters were changed from outside.
  void forget_point();

 protected:
  void save_counters(torch::serialize::OutputArchive& archive) const override;
  std::function<void()> read_counters(
      torch::serialize::InputArchive& archive) override;

 private:
  void use_options();
  void update_group(std::size_t group, double scale);

  std::unique_ptr<detail::RollbackEngine> engine_;
};

}  // namespace stepsize
