#include "evaluation.h"

#include <stepsize/kernels/grad_norm.h>

#include <algorithm>
#include <utility>

#include "archive.h"

namespace stepsize::trainer {

// One evaluation of all micro-batches.
class Evaluation::Round {
 public:
  Round(Evaluation& evaluation, const MicroBatches& batches)
      : evaluation_(evaluation), is_first_(!evaluation.right_.defined()) {
    for (const auto& batch : batches) {
      images_ += batch.size();
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
    return loss_part(logits, batch, images_, evaluation_.ranks_.get());
  }

 private:
  Evaluation& evaluation_;
  bool is_first_;
  std::int64_t images_ = 0;
};

torch::Tensor loss_part(
    const torch::Tensor& logits,
    const Batch& batch,
    std::int64_t images,
    const Reduction* ranks) {
  namespace F = torch::nn::functional;
  const auto all = static_cast<double>(images);
  if (ranks != nullptr) {
    // A share may be empty, and has no mean then.
    return F::cross_entropy(
               logits,
               batch.labels,
               F::CrossEntropyFuncOptions().reduction(torch::kSum)) *
           (static_cast<double>(ranks->world_size()) / all);
  }
  const auto mean = F::cross_entropy(logits, batch.labels);
  const auto count = batch.labels.size(0);
  return count == images ? mean : mean * (static_cast<double>(count) / all);
}

Evaluation::Evaluation(
    ImageModel& model,
    std::int64_t micro_batch,
    std::shared_ptr<Reduction> ranks)
    : model_(model), parameters_(model.parameters()), ranks_(std::move(ranks)) {
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
  if (round.is_first()) {
    gather_right();
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
  if (measures) {
    noise_->discard_update();  // one that threw has not finished
    noise_->begin_update();
  }
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
  if (round.is_first()) {
    gather_right();
  }
  if (measures) {
    const double factor = 1 / static_cast<double>(batches.size());
    if (ranks_ != nullptr) {
      noise_->finish_update(*ranks_, factor);
    } else {
      noise_->finish_update(factor);
    }
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

void Evaluation::gather_right() {
  if (ranks_ != nullptr) {
    auto sum = right_.to(torch::kFloat64);
    ranks_->sum(sum);
    right_ = sum.to(torch::kInt64);
  }
}

void Evaluation::forget_update() {
  right_.reset();
  if (noise_) {
    noise_->discard_update();
  }
}

torch::Tensor Evaluation::take_right() { return std::exchange(right_, {}); }

std::optional<double> Evaluation::noise_scale() const {
  const auto noise = noise_ ? noise_->total() : NoiseScale();
  return noise.known() ? std::optional<double>(noise.value) : std::nullopt;
}

void Evaluation::save(torch::serialize::OutputArchive& archive) const {
  write_int(archive, "measures_noise", noise_ ? 1 : 0);
  write_int(archive, "images", images_);
  write_int(archive, "updates", updates_);
  if (noise_) {
    write_part(archive, "noise", [&](auto& part) { part << *noise_; });
  }
}

void Evaluation::load(torch::serialize::InputArchive& archive) {
  TORCH_CHECK(
      (read_int(archive, "measures_noise") != 0) == noise_.has_value(),
      "Evaluation: the archive ",
      noise_ ? "has no" : "has a",
      " gradient noise scale, and this one ",
      noise_ ? "measures it" : "does not measure it");
  const auto images = read_count(archive, "images");
  const auto updates = read_count(archive, "updates");
  if (noise_) {
    auto part = read_part(archive, "noise");
    part >> *noise_;
  }
  images_ = images;
  updates_ = updates;
}

void Evaluation::add_noise(std::vector<std::string>& lines) const {
  if (updates_ > 0) {
    lines.push_back(noise_->total().advice(images_ / updates_));
  }
}

// Micro-batches of one size can be compared.
bool Evaluation::can_measure_noise(const MicroBatches& batches) const {
  const std::int64_t ranks = ranks_ != nullptr ? ranks_->world_size() : 1;
  return noise_ && batches.size() >= 2 &&
         std::all_of(batches.begin(), batches.end(), [&](const Batch& batch) {
           return batch.size() == noise_->options().micro_batch() * ranks;
         });
}

}  // namespace stepsize::trainer
