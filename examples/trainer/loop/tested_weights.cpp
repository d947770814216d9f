#include "examples/trainer/loop/tested_weights.h"

#include <stepsize/adaptive/renew_batch_norm.h>

#include <cstddef>

namespace stepsize::trainer {
namespace {

// A mean over as many batches is known well enough.
constexpr int kBatches = 50;

void measure_statistics(ImageModel& model, BatchSource& images) {
  renew_batch_norm(model, [&] {
    images.rewind();
    images.start_epoch();
    for (int i = 0; i < kBatches; ++i) {
      const auto batch = images.next();
      if (!batch) {
        break;
      }
      model.forward(batch->images);
    }
  });
}

}  // namespace

TestedWeights::TestedWeights(TrainedOptimizer& optimizer, BatchSource& images) {
  auto* const own = optimizer.schedule_free();
  if (own == nullptr) {
    return;
  }
  buffers_ = optimizer.model().buffers();
  for (const auto& buffer : buffers_) {
    kept_.push_back(buffer.clone());
  }
  mean_.emplace(*own);
  measure_statistics(optimizer.model(), images);
}

TestedWeights::~TestedWeights() {
  const torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < buffers_.size(); ++i) {
    buffers_[i].copy_(kept_[i]);
  }
}

void take_tested_weights(TrainedOptimizer& optimizer, BatchSource& images) {
  if (auto* const own = optimizer.schedule_free()) {
    own->eval();
    measure_statistics(optimizer.model(), images);
  }
}

}  // namespace stepsize::trainer
