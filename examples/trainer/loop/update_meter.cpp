#include "examples/trainer/loop/update_meter.h"

#include <algorithm>
#include <utility>

#include "examples/trainer/loop/archive.h"

namespace stepsize::trainer {

std::int64_t images_in(const MicroBatches& batches) {
  std::int64_t images = 0;
  for (const auto& batch : batches) {
    images += batch.size();
  }
  return images;
}

UpdateMeter::UpdateMeter(
    ImageModel& model,
    std::int64_t micro_batch,
    std::shared_ptr<Reduction> ranks)
    : ranks_(std::move(ranks)) {
  if (micro_batch > 0) {
    noise_.emplace(
        std::vector<std::vector<torch::Tensor>>{model.parameters()},
        GradientNoiseScaleOptions(micro_batch));
  }
}

void UpdateMeter::start_evaluation(
    const MicroBatches& batches, bool with_gradients) {
  is_first_ = !right_.defined();
  measures_noise_ = is_first_ && with_gradients && can_measure_noise(batches);
  if (measures_noise_) {
    noise_->discard_update();  // one that threw has not finished
    noise_->begin_update();
  }
}

void UpdateMeter::after_forward(
    const torch::Tensor& logits, const torch::Tensor& labels) {
  if (is_first_) {
    // A tensor on the device, so that counting does not wait.
    const auto right = logits.detach().argmax(1).eq(labels).sum();
    right_ = right_.defined() ? right_.add_(right) : right;
  }
}

void UpdateMeter::after_backward() {
  if (measures_noise_) {
    noise_->add_micro_batch();
  }
}

void UpdateMeter::finish_evaluation(const MicroBatches& batches) {
  if (is_first_ && ranks_ != nullptr) {
    auto sum = right_.to(torch::kFloat64);
    ranks_->sum(sum);
    right_ = sum.to(torch::kInt64);
  }
  if (measures_noise_) {
    const double factor = 1 / static_cast<double>(batches.size());
    if (ranks_ != nullptr) {
      noise_->finish_update(*ranks_, factor);
    } else {
      noise_->finish_update(factor);
    }
    images_ += images_in(batches);
    ++updates_;
  }
}

void UpdateMeter::forget_update() {
  right_.reset();
  if (noise_) {
    noise_->discard_update();
  }
}

torch::Tensor UpdateMeter::take_right() { return std::exchange(right_, {}); }

std::optional<double> UpdateMeter::noise_scale() const {
  const auto noise = noise_ ? noise_->total() : NoiseScale();
  return noise.known() ? std::optional<double>(noise.value) : std::nullopt;
}

void UpdateMeter::save(torch::serialize::OutputArchive& archive) const {
  write_int(archive, "measures_noise", noise_ ? 1 : 0);
  write_int(archive, "images", images_);
  write_int(archive, "updates", updates_);
  if (noise_) {
    write_part(archive, "noise", [&](auto& part) { part << *noise_; });
  }
}

void UpdateMeter::load(torch::serialize::InputArchive& archive) {
  TORCH_CHECK(
      (read_int(archive, "measures_noise") != 0) == noise_.has_value(),
      "UpdateMeter: the archive ",
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

void UpdateMeter::add_noise(std::vector<std::string>& lines) const {
  if (updates_ > 0) {
    lines.push_back(noise_->total().advice(images_ / updates_));
  }
}

// Micro-batches of one size can be compared.
bool UpdateMeter::can_measure_noise(const MicroBatches& batches) const {
  const std::int64_t ranks = ranks_ != nullptr ? ranks_->world_size() : 1;
  return noise_ && batches.size() >= 2 &&
         std::all_of(batches.begin(), batches.end(), [&](const Batch& batch) {
           return batch.size() == noise_->options().micro_batch() * ranks;
         });
}

}  // namespace stepsize::trainer
