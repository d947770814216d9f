#include "csrc/tune/lr_lowest_point.h"

#include <c10/core/GradMode.h>

#include <cmath>
#include <numeric>
#include <utility>

#include "csrc/core/overlap.h"

namespace stepsize::detail {

LowestPoint::LowestPoint(std::vector<at::Tensor> tensors, int64_t window)
    : tensors_(std::move(tensors)), window_(static_cast<std::size_t>(window)) {}

void LowestPoint::look(double loss) {
  if (!std::isfinite(loss)) {
    losses_.clear();
    return;
  }
  losses_.push_back(loss);
  if (losses_.size() > window_) losses_.pop_front();
  if (losses_.size() < window_) return;
  const double mean = std::accumulate(losses_.begin(), losses_.end(), 0.0) /
                      static_cast<double>(window_);
  if (!copies_.empty() && !(mean < lowest_)) return;
  lowest_ = mean;
  const c10::AutoGradMode no_grad(false);
  if (copies_.empty()) {
    for (const at::Tensor& tensor : tensors_) {
      copies_.push_back(tensor.detach().clone());
    }
    return;
  }
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    copies_[i].copy_(tensors_[i]);
  }
}

bool LowestPoint::go_there() {
  if (copies_.empty()) return false;
  const c10::AutoGradMode no_grad(false);
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    put_back(tensors_[i], copies_[i]);
  }
  return true;
}

}  // namespace stepsize::detail
