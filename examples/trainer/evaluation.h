#pragma once

#include <stepsize/distributed/reduction.h>
#include <stepsize/tune/gradient_noise_scale.h>
#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "batch_source.h"
#include "image_model.h"
#include "phase_timer.h"

namespace stepsize::trainer {

/// What one update is made from: at least one, on one device.
using MicroBatches = std::vector<Batch>;

/// What a batch's logits add to the mean cross-entropy over so many images,
/// times the number of ranks: the mean over ranks is then the sum of what they
/// add.
torch::Tensor loss_part(
    const torch::Tensor& logits,
    const Batch& batch,
    std::int64_t images,
    const Reduction* ranks);

/// Evaluates the mean cross-entropy of a model, which must outlive it, over the
/// images of some micro-batches together. Takes the timer through kForward and
/// kBackward.
class Evaluation {
 public:
  /// With `micro_batch`, the images in a full micro-batch, the gradient noise
  /// scale is measured; 0 for not.
  /// `ranks`: null where there are no others; losses and gradients are this
  /// rank's, to be averaged, and right answers those of all.
  explicit Evaluation(
      ImageModel& model,
      std::int64_t micro_batch = 0,
      std::shared_ptr<Reduction> ranks = nullptr);

  /// The loss with its graph.
  torch::Tensor loss(const MicroBatches& batches, PhaseTimer& timer);

  /// The loss, after backward passes that left its gradient; one micro-batch's
  /// graph lives at a time.
  torch::Tensor loss_and_gradients(
      const MicroBatches& batches, PhaseTimer& timer);

  /// Of the gradient that the parameters have.
  torch::Tensor grad_norm() const;

  /// Right answers in the first evaluation since the last call. To be called
  /// once an update.
  torch::Tensor take_right();

  /// Leaves an update out that was given up.
  void forget_update();

  /// Gradient noise scale so far, in images; nothing where it is not known.
  std::optional<double> noise_scale() const;
  /// What of all updates so far the noise scale goes by. To be saved between
  /// updates, and loaded by one of the same model and micro-batch; throws
  /// c10::Error, and changes nothing, where it is not.
  void save(torch::serialize::OutputArchive& archive) const;
  void load(torch::serialize::InputArchive& archive);

  /// Adds a line on it for a person, if there is anything to say.
  void add_noise(std::vector<std::string>& lines) const;

 private:
  class Round;

  bool can_measure_noise(const MicroBatches& batches) const;
  void gather_right();

  ImageModel& model_;
  std::vector<torch::Tensor> parameters_;
  std::shared_ptr<Reduction> ranks_;
  torch::Tensor right_;
  std::optional<GradientNoiseScale> noise_;
  // In the updates that it was measured in.
  std::int64_t images_ = 0;
  std::int64_t updates_ = 0;
};

}  // namespace stepsize::trainer
