#pragma once

#include <stepsize/adaptive/sam.h>
#include <stepsize/adaptive/schedule_free_optimizer.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/torch.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "examples/trainer/loop/update_meter.h"
#include "examples/trainer/model/image_model.h"

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

/// Evaluates the loss of an update's images on this rank.
using LossFunction = std::function<torch::Tensor()>;

/// An optimizer of a model, and what is known after its steps: each kind wants
/// the loss and its gradient in a way of its own.
class TrainedOptimizer {
 public:
  virtual ~TrainedOptimizer() = default;

  /// What a schedule drives.
  virtual torch::optim::Optimizer& inner() = 0;

  /// Makes a step by one of the two: `loss` has the graph yet to go back
  /// through, `loss_and_gradients` has left gradients. Fills all of `update`
  /// but what the meter knows.
  virtual void step(
      const LossFunction& loss,
      const LossFunction& loss_and_gradients,
      Update& update) = 0;

  /// What the optimizer did in all updates so far: lines for a person, none
  /// where there is nothing to tell.
  virtual std::vector<std::string> summary() const;

  /// What summary() and the meter go by and the optimizer does not keep. To be
  /// saved between updates, and loaded by one that was made alike; throws
  /// c10::Error, and changes nothing, where it was not.
  virtual void save(torch::serialize::OutputArchive& archive) const;
  virtual void load(torch::serialize::InputArchive& archive);

  /// Whether the optimizer comes back from a loss that others never do.
  virtual bool recovers() const { return false; }

  /// The optimizer, where it tests and ships other weights than it trains; null
  /// for all others.
  virtual ScheduleFreeOptimizer* schedule_free() { return nullptr; }

  ImageModel& model() { return model_; }
  UpdateMeter& meter() { return meter_; }
  /// Null where there are no others.
  Reduction* ranks() { return ranks_.get(); }

 protected:
  TrainedOptimizer(
      ImageModel& model,
      std::int64_t micro_batch,
      const std::shared_ptr<Reduction>& ranks);

 private:
  ImageModel& model_;
  std::shared_ptr<Reduction> ranks_;
  UpdateMeter meter_;
};

/// The rate that a schedule has set.
double scheduled_lr(const torch::optim::Optimizer& optimizer);

/// A line of a summary on updates that were not made, if there were any.
void add_left_out(std::vector<std::string>& lines, std::int64_t count);

/// For an optimizer that steps by the gradients that it finds. The model must
/// outlive it. `own_rate`, for one whose option `lr` is no more than a factor
/// or a start, tells the rate of its last update.
std::unique_ptr<TrainedOptimizer> by_gradients(
    ImageModel& model,
    std::unique_ptr<torch::optim::Optimizer> optimizer,
    std::int64_t micro_batch = 0,
    const std::shared_ptr<Reduction>& ranks = nullptr,
    std::function<double()> own_rate = nullptr);

/// For one that evaluates a batch once more where it wants to compare.
std::unique_ptr<TrainedOptimizer> by_rollback(
    ImageModel& model,
    std::unique_ptr<RollbackSGD> optimizer,
    std::int64_t micro_batch = 0,
    const std::shared_ptr<Reduction>& ranks = nullptr);

/// For one that is stepped by the gradients of a point uphill.
std::unique_ptr<TrainedOptimizer> by_ascent(
    ImageModel& model,
    std::unique_ptr<torch::optim::Optimizer> optimizer,
    const SAMOptions& options,
    std::int64_t micro_batch = 0,
    const std::shared_ptr<Reduction>& ranks = nullptr);

}  // namespace stepsize::trainer
