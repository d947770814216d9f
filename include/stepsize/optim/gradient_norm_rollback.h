#pragma once

#include <stepsize/optim/rollback_rule.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <memory>

namespace stepsize {

class Reduction;

namespace detail {
class RollbackEngine;
}  // namespace detail

/// Guards another optimizer: takes back the steps that made the gradient grow,
/// and goes on with a smaller rate, as RollbackRule decides.
///
///     RollbackOptions options;
///     options.buffers(model->buffers());
///     GradientNormRollback guard(adam, options);
///     guard.step(closure);  // in the place of adam.step(closure)
///
/// In a step the rate of every group is multiplied by rate_scale() and put back
/// after it: schedulers go on writing the groups' rates as if there were no
/// guard. A rollback puts parameters, the optimizer's state (tensors and counts
/// of steps) and the buffers of the options back to the earlier point bit for
/// bit; the update is made from there, with a closure, which confirms it, by
/// the gradient of this mini-batch, else by the gradient that the earlier point
/// had.
///
/// What is asked of the closure is as with RollbackSGD. The optimizer is
/// stepped without it.
///
/// Guards any optimizer:
///
/// - The IndexedOptimizers and LibTorch's SGD, Adam, AdamW, RMSprop and
///   Adagrad: their state is copied tensor by tensor.
/// - Every other class, yours too, through its own save() and load(), which
///   must carry all that its step changes. A class that saves nothing is
///   refused (the base class's save() and load() do nothing). The groups'
///   options are not rolled back. Parameters that join or leave make the guard
///   forget the earlier point.
/// - Refused: LBFGS, whose step evaluates its closure many times and has a line
///   search for it; PowerMethodSGD, which lets no closure call backward(), and
///   measures its rate; RollbackSGD, which has this guard inside.
///
/// Give a closure in every step or in none: after a step with one there is no
/// gradient of the earlier point to go on by, and a rollback in a step without
/// makes no update then, though last_status() is kRolledBack.
///
/// Where the optimizer's step throws, the rule is as it was before; a rollback
/// that it was to follow stays.
///
/// Cost: one copy of parameters and state, written once in `window` steps or
/// more often, but for what is frozen: has no gradient, asks for none and has
/// no state. Of the gradients too without closure or confirm; one more of
/// parameters and gradients in a step that is suspect. For a class that is not
/// named above the copy of its state is a save into memory, an archive: about a
/// millisecond, and a fraction of one more a megabyte. One norm a step, which
/// the host waits for; a second evaluation in a step that is suspect.
///
/// When not to use it: Adam and its kin divide by the gradient's own size, and
/// a rate too large for them shows in the gradient's norm late or not at all.
///
/// `torch::save` and `torch::load` of the guard carry the rule's state and the
/// earlier point, by group and position. Save the optimizer and the parameters
/// beside it, and load them first: the run goes on bit for bit. Loading what
/// does not fit throws c10::Error and changes nothing.
///
/// The optimizer must outlive the guard, which cannot be copied. All steps must
/// go through it.
class GradientNormRollback {
 public:
  /// Throws c10::Error for an optimizer that it cannot guard, and where an
  /// option is out of range.
  explicit GradientNormRollback(
      torch::optim::Optimizer& optimizer, const RollbackOptions& options = {});
  ~GradientNormRollback();
  GradientNormRollback(const GradientNormRollback&) = delete;
  GradientNormRollback& operator=(const GradientNormRollback&) = delete;

  /// One step of the optimizer. Returns the closure's loss at the point that
  /// the update is made from.
  at::Tensor step(torch::optim::Optimizer::LossClosure closure = nullptr);

  /// Makes this guard one of several ranks that train one model; see
  /// IndexedOptimizer::set_reduction(). All ranks go back or none, and the
  /// optimizer is stepped with the mean of the gradients. Null, as at first:
  /// the reduction that the optimizer has when it is stepped, if it is one of
  /// this library and has one.
  void set_reduction(std::shared_ptr<Reduction> reduction);

  /// Counters, last status and scale of the rates.
  const RollbackRule& rule() const;
  double rate_scale() const { return rule().rate_scale(); }
  int64_t rollbacks() const { return rule().rollbacks(); }
  RollbackStatus last_status() const { return rule().last_status(); }
  /// To be called after the parameters were changed from outside.
  void forget_point();

  friend torch::serialize::OutputArchive& operator<<(
      torch::serialize::OutputArchive& archive,
      const GradientNormRollback& guard);
  friend torch::serialize::InputArchive& operator>>(
      torch::serialize::InputArchive& archive, GradientNormRollback& guard);

 private:
  torch::optim::Optimizer* optimizer_;
  std::unique_ptr<detail::RollbackEngine> engine_;
  std::shared_ptr<Reduction> reduction_;
};

}  // namespace stepsize
