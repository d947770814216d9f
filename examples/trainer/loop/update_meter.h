#pragma once

#include <stepsize/distributed/reduction.h>
#include <stepsize/tune/gradient_noise_scale.h>
#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "examples/trainer/data/batch_source.h"
#include "examples/trainer/model/image_model.h"

namespace stepsize::trainer {

/// What one update is made from: at least one, on one device.
using MicroBatches = std::vector<Batch>;

/// Images in them, those of all ranks.
std::int64_t images_in(const MicroBatches& batches);

/// What is measured while an update evaluates the loss: right answers, and,
/// with `micro_batch`, the images in a full micro-batch, the gradient noise
/// scale in updates of several full ones. An optimizer may evaluate more than
/// once an update: the first evaluation counts.
class UpdateMeter {
 public:
  /// The model must outlive this. `ranks`: null where there are no others.
  UpdateMeter(
      ImageModel& model,
      std::int64_t micro_batch,
      std::shared_ptr<Reduction> ranks);

  /// Around each evaluation, with or without gradients,
  void start_evaluation(const MicroBatches& batches, bool with_gradients);
  /// between the passes of each micro-batch,
  void after_forward(const torch::Tensor& logits, const torch::Tensor& labels);
  void after_backward();
  /// and at the end.
  void finish_evaluation(const MicroBatches& batches);

  /// Right answers, those of all ranks, in the first evaluation since the last
  /// call. To be called once an update.
  torch::Tensor take_right();
  /// Leaves an update out that was given up.
  void forget_update();

  /// Gradient noise scale so far, in images; nothing where it is not known.
  std::optional<double> noise_scale() const;
  /// Adds a line on it for a person, if there is anything to say.
  void add_noise(std::vector<std::string>& lines) const;

  /// What of all updates so far the noise scale goes by. To be saved between
  /// updates, and loaded by one of the same model and micro-batch; throws
  /// c10::Error, and changes nothing, where it is not.
  void save(torch::serialize::OutputArchive& archive) const;
  void load(torch::serialize::InputArchive& archive);

 private:
  bool can_measure_noise(const MicroBatches& batches) const;

  std::shared_ptr<Reduction> ranks_;
  torch::Tensor right_;
  std::optional<GradientNoiseScale> noise_;
  // Of the evaluation that is on.
  bool is_first_ = false;
  bool measures_noise_ = false;
  // In the updates that the noise scale was measured in.
  std::int64_t images_ = 0;
  std::int64_t updates_ = 0;
};

}  // namespace stepsize::trainer
