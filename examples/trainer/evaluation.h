#pragma once

#include <stepsize/tune/gradient_noise_scale.h>
#include <torch/torch.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "batch_source.h"
#include "image_model.h"
#include "phase_timer.h"

namespace stepsize::trainer {

/// What one update is made from: at least one, on one device.
using MicroBatches = std::vector<Batch>;

/// Evaluates the mean cross-entropy of a model, which must outlive it, over the
/// images of some micro-batches together. Takes the timer through kForward and
/// kBackward.
class Evaluation {
 public:
  /// With `micro_batch`, the images in a full micro-batch, the gradient noise
  /// scale is measured; 0 for not.
  explicit Evaluation(ImageModel& model, std::int64_t micro_batch = 0);

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

  /// Gradient noise scale so far, in images; nothing where it is not known.
  std::optional<double> noise_scale() const;
  /// Adds a line on it for a person, if there is anything to say.
  void add_noise(std::vector<std::string>& lines) const;

 private:
  class Round;

  bool can_measure_noise(const MicroBatches& batches) const;

  ImageModel& model_;
  std::vector<torch::Tensor> parameters_;
  torch::Tensor right_;
  std::optional<GradientNoiseScale> noise_;
  // In the updates that it was measured in.
  std::int64_t images_ = 0;
  std::int64_t updates_ = 0;
};

}  // namespace stepsize::trainer
