#pragma once

#include <stepsize/optim/clipped_optimizer.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/torch.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "batch_source.h"
#include "image_model.h"
#include "phase_timer.h"

namespace stepsize::trainer {

/// What is known of an update when it has been made. The tensors have no graph
/// and may still be on their way on an accelerator.
struct Update {
  double lr = 0;            ///< the rate it was made with
  torch::Tensor loss;       ///< of the batch where the update was made from
  torch::Tensor logits;     ///< [B, classes], where the step began
  torch::Tensor grad_norm;  ///< of the whole gradient, where the step began
  /// Largest eigenvalue of the loss's Hessian, in magnitude, that the rate goes
  /// by; nothing where it is not known.
  std::optional<double> sharpness;
  /// Whether steps were taken back first.
  bool rolled_back = false;
};

/// How one update of a model is made from a batch, and what is known after it:
/// each kind of optimizer wants the loss and its gradient in a way of its own.
/// The loss is the mean cross-entropy.
class Updater {
 public:
  virtual ~Updater() = default;

  /// What a schedule drives.
  virtual torch::optim::Optimizer& optimizer() = 0;

  /// Makes an update. Takes the timer from phase kForward to kUpdate.
  virtual Update make(const Batch& batch, PhaseTimer& timer) = 0;

  /// What the optimizer did in all updates so far: lines for a person, none
  /// where there is nothing to tell.
  virtual std::vector<std::string> summary() const { return {}; }

  /// Whether the optimizer comes back from a loss that others never do.
  virtual bool recovers() const { return false; }
};

/// For an optimizer that steps by the gradients that it finds. The model must
/// outlive each of these.
std::unique_ptr<Updater> make_gradient_updater(
    ImageModel& model, std::unique_ptr<torch::optim::Optimizer> optimizer);

/// Tells how many updates were clipped.
std::unique_ptr<Updater> make_clipped_updater(
    ImageModel& model, std::unique_ptr<ClippedOptimizer> optimizer);

/// Evaluates a batch once more where the optimizer wants to compare.
std::unique_ptr<Updater> make_rollback_updater(
    ImageModel& model, std::unique_ptr<RollbackSGD> optimizer);

/// Leaves gradients to the optimizer: their time, and that of the Hessian's
/// products, counts as kBackward.
std::unique_ptr<Updater> make_power_updater(
    ImageModel& model, std::unique_ptr<PowerMethodSGD> optimizer);

}  // namespace stepsize::trainer
