#include "evaluation.h"

#include <stepsize/kernels/grad_norm.h>

#include <algorithm>
#include <utility>

namespace stepsize::trainer {

// One evaluation of all micro-batches.
class Evaluation::Round {
 public:
  Round(Evaluation& evaluation, const MicroBatches& batches)
      : evaluation_(evaluation), is_first_(!evaluation.right_.defined()) {
    for (const auto& batch : batches) {
      images_ += batch.labels.size(0);
    }
  }

  // Whether no other came before it in this update.
  bool is_first() const { return is_first_; }
  std::int64_t images() const { return images_; }

  // The part of a micro-batch in the mean over all images.
  torch::Tensor loss(const Batch& batch, PhaseTimer& timer) {
    timer.enter(Phase::kForward);
    const auto logits = evaluation_.model_.forward(batch.images);
    if (is_first_) {
      const auto right = logits.detach().argmax(1).eq(batch.labels).sum();
      auto& sum = evaluation_.right_;
      sum = sum.defined() ? sum.add_(right) : right;
    }
    const auto mean =
        torch::nn::functional::cross_entropy(logits, batch.labels);
    const auto count = batch.labels.size(0);
    return count == images_ ? mean
                            : mean * (static_cast<double>(count) /
                                      static_cast<double>(images_));
  }

 private:
  Evaluation& evaluation_;
  bool is_first_;
  std::int64_t images_ = 0;
};

Evaluation::Evaluation(ImageModel& model, std::int64_t micro_batch)
    : model_(model), parameters_(model.parameters()) {
  if (micro_batch > 0) {
    noise_.emplace(
        std::vector<std::vector<torch::Tensor>>{parameters_},
        GradientNoiseScaleOptions(micro_batch));
  }
}

torch::Tensor Evaluation::loss(const MicroBatches& batches, PhaseTimer& timer) {
  Round round(*this, batches);
  torch::Tensor sum;
  for (const auto& batch : batches) {
    const auto part = round.loss(batch, timer);
    sum = sum.defined() ? sum + part : part;
  }
  return sum;
}

torch::Tensor Evaluation::loss_and_gradients(
    const MicroBatches& batches, PhaseTimer& timer) {
  // Dropping the old gradients saves filling them with zeros and adding.
  for (const auto& parameter : parameters_) {
    parameter.mutable_grad().reset();
  }
  Round round(*this, batches);
  const bool measures = round.is_first() && can_measure_noise(batches);
  torch::Tensor sum;
  for (const auto& batch : batches) {
    const auto part = round.loss(batch, timer);
    timer.enter(Phase::kBackward);
    part.backward();
    if (measures) {
      noise_->add_micro_batch();
    }
    sum = sum.defined() ? sum + part.detach() : part.detach();
  }
  if (measures) {
    noise_->finish_update(1 / static_cast<double>(batches.size()));
    images_ += round.images();
    ++updates_;
  }
  return sum;
}

torch::Tensor Evaluation::grad_norm() const {
  std::vector<torch::Tensor> gradients;
  for (const auto& parameter : parameters_) {
    gradients.push_back(parameter.grad());
  }
  return global_norm(gradients);
}

torch::Tensor Evaluation::take_right() { return std::exchange(right_, {}); }

std::optional<double> Evaluation::noise_scale() const {
  const auto noise = noise_ ? noise_->total() : NoiseScale();
  return noise.known() ? std::optional<double>(noise.value) : std::nullopt;
}

void Evaluation::add_noise(std::vector<std::string>& lines) const {
  if (updates_ > 0) {
    lines.push_back(noise_->total().advice(images_ / updates_));
  }
}

// Micro-batches of one size can be compared.
bool Evaluation::can_measure_noise(const MicroBatches& batches) const {
  return noise_ && batches.size() >= 2 &&
         std::all_of(batches.begin(), batches.end(), [&](const Batch& batch) {
           return batch.labels.size(0) == noise_->options().micro_batch();
         });
}

}  // namespace stepsize::trainer
