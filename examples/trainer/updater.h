#pragma once

#include <stepsize/optim/clipped_optimizer.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "evaluation.h"
#include "image_model.h"
#include "phase_timer.h"

namespace stepsize::trainer {

/// What is known of an update when it has been made. The tensors have no graph
/// and may still be on their way on an accelerator.
struct Update {
  double lr = 0;            ///< the rate it was made with
  torch::Tensor loss;       ///< of the images where the update was made from
  torch::Tensor right;      ///< how many of them were told where it began
  torch::Tensor grad_norm;  ///< of the whole gradient, where the step began
  /// Largest eigenvalue of the loss's Hessian, in magnitude, that the rate goes
  /// by; nothing where it is not known.
  std::optional<double> sharpness;
  /// Gradient noise scale so far, in images; nothing where it is not measured
  /// or not known yet.
  std::optional<double> noise_scale;
  /// Whether steps were taken back first.
  bool rolled_back = false;
};

/// How one update of a model is made from micro-batches, and what is known
/// after it: each kind of optimizer wants the loss and its gradient in a way of
/// its own. The loss is the mean cross-entropy of all images together.
class Updater {
 public:
  virtual ~Updater() = default;

  /// What a schedule drives.
  virtual torch::optim::Optimizer& optimizer() = 0;

  /// Makes an update. Takes the timer from phase kForward to kUpdate.
  virtual Update make(const MicroBatches& batches, PhaseTimer& timer) = 0;

  /// What the optimizer did in all updates so far: lines for a person, none
  /// where there is nothing to tell.
  virtual std::vector<std::string> summary() const { return {}; }

  /// What summary() and make() go by and the optimizer does not keep. To be
  /// saved between updates, and loaded by an updater that was made alike;
  /// throws c10::Error, and changes nothing, where it was not.
  virtual void save(torch::serialize::OutputArchive& archive) const = 0;
  virtual void load(torch::serialize::InputArchive& archive) = 0;

  /// To be called where make() threw, before save(): leaves that update out.
  virtual void forget_update() = 0;

  /// Whether the optimizer comes back from a loss that others never do.
  virtual bool recovers() const { return false; }
};

/// For an optimizer that steps by the gradients that it finds. The model must
/// outlive each of these. With `micro_batch`, the images in a full micro-batch,
/// the gradient noise scale is measured in updates of several full ones; 0 for
/// not. With `ranks` the gradients are those of all of them.
std::unique_ptr<Updater> make_gradient_updater(
    ImageModel& model,
    std::unique_ptr<torch::optim::Optimizer> optimizer,
    std::int64_t micro_batch = 0,
    std::shared_ptr<Reduction> ranks = nullptr);

/// Tells how many updates were clipped.
std::unique_ptr<Updater> make_clipped_updater(
    ImageModel& model,
    std::unique_ptr<ClippedOptimizer> optimizer,
    std::int64_t micro_batch = 0,
    std::shared_ptr<Reduction> ranks = nullptr);

/// Evaluates a batch once more where the optimizer wants to compare.
std::unique_ptr<Updater> make_rollback_updater(
    ImageModel& model,
    std::unique_ptr<RollbackSGD> optimizer,
    std::int64_t micro_batch = 0,
    std::shared_ptr<Reduction> ranks = nullptr);

/// Leaves gradients to the optimizer: their time, and that of the Hessian's
/// products, counts as kBackward. The graphs of all micro-batches live at once.
std::unique_ptr<Updater> make_power_updater(
    ImageModel& model,
    std::unique_ptr<PowerMethodSGD> optimizer,
    std::shared_ptr<Reduction> ranks = nullptr);

}  // namespace stepsize::trainer
