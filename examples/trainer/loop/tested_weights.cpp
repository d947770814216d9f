#include "examples/trainer/loop/tested_weights.h"

#include <c10/util/Exception.h>
#include <stepsize/adaptive/renew_batch_norm.h>

#include <cstddef>
#include <exception>

namespace stepsize::trainer {
namespace {

// Means over as many are known well enough.
constexpr std::int64_t kImages = 6400;

void copy_all(
    const std::vector<torch::Tensor>& to,
    const std::vector<torch::Tensor>& from) {
  const torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < from.size(); ++i) {
    to[i].detach().copy_(from[i]);
  }
}

std::vector<torch::Tensor> copies_of(const std::vector<torch::Tensor>& all) {
  std::vector<torch::Tensor> copies;
  for (const auto& tensor : all) {
    copies.push_back(tensor.detach().clone());
  }
  return copies;
}

}  // namespace

void forward_some(
    ImageModel& model,
    BatchSource& images,
    const std::function<bool()>& should_stop) {
  images.rewind();
  images.start_epoch();
  std::int64_t whole = 0;
  for (std::int64_t done = 0; done < kImages;) {
    const auto batch = images.next();
    // A mean of means wants batches of one size.
    if (!batch || batch->size() < whole || (should_stop && should_stop())) {
      break;
    }
    whole = batch->size();
    done += whole;
    const auto autocast = model.autocast(batch->images);
    model.forward(batch->images);
  }
}

TestedWeights::TestedWeights(
    TrainedOptimizer& optimizer,
    BatchSource* images,
    const std::function<bool()>& should_stop) {
  auto* const own = optimizer.schedule_free();
  if (own == nullptr) {
    return;
  }
  mean_.emplace(*own);
  const auto buffers = optimizer.model().buffers();
  kept_ = copies_of(buffers);
  // It puts them back itself where it throws.
  renew_batch_norm(optimizer.model(), [&] {
    forward_some(optimizer.model(), *images, should_stop);
  });
  buffers_ = buffers;
}

TestedWeights::~TestedWeights() {
  try {
    copy_all(buffers_, buffers_.empty() ? buffers_ : kept_);
  } catch (const std::exception& error) {
    TORCH_WARN("TestedWeights: buffers were not put back: ", error.what());
  }
}

std::vector<torch::Tensor> TestedWeights::buffers() const {
  return copies_of(buffers_);
}

void take_tested_weights(
    TrainedOptimizer& optimizer, const std::vector<torch::Tensor>& buffers) {
  if (auto* const own = optimizer.schedule_free()) {
    own->eval();
    copy_all(optimizer.model().buffers(), buffers);
  }
}

}  // namespace stepsize::trainer
