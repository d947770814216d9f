#include "examples/trainer/loop/update_reader.h"

#include <cmath>
#include <limits>
#include <utility>

namespace stepsize::trainer {
namespace {

// Reads the tensors in one go, and drops them.
std::vector<double> values(std::vector<torch::Tensor>& tensors) {
  std::vector<double> result;
  if (tensors.empty()) {
    return result;
  }
  const auto read = torch::stack(tensors).to(torch::kCPU, torch::kFloat64);
  const auto* value = read.data_ptr<double>();
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    result.push_back(without_sign_of_nan(value[i]));
  }
  tensors.clear();
  return result;
}

}  // namespace

double without_sign_of_nan(double value) {
  return std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : value;
}

UpdateReader::UpdateReader(
    const TrainingSetup& setup,
    const TrainingListener& listener,
    TrainingState& state)
    : setup_(setup), listener_(listener), state_(state), lr_before_(state.lr) {}

void UpdateReader::add(const StepResult& result, const Update& update) {
  right_ = right_.defined() ? right_.add_(update.right) : update.right;
  waiting_.push_back(result);
  losses_.push_back(update.loss);
  norms_.push_back(update.grad_norm);
  constexpr std::size_t kReadEvery = 50;
  if (update.loss.is_cpu() || losses_.size() == kReadEvery) {
    read_losses();
  }
}

void UpdateReader::read() {
  read_losses();
  if (right_.defined()) {
    state_.right += right_.item<std::int64_t>();
    right_.reset();
  }
}

void UpdateReader::read_losses() {
  const auto losses = values(losses_);
  const auto norms = values(norms_);
  const auto waiting = std::exchange(waiting_, {});
  for (std::size_t i = 0; i < waiting.size(); ++i) {
    auto result = waiting[i];
    result.loss = losses[i];
    result.grad_norm = norms[i];
    state_.loss_sum += result.loss * static_cast<double>(result.batch);
    if (listener_.on_step) {
      listener_.on_step(result);
    }
    was_hopeless_ = is_hopeless(result.loss, setup_.classes);
    if (!setup_.optimizer.recovers() && was_hopeless_) {
      throw DivergedError(result, lr_before_);
    }
    lr_before_ = result.lr;
  }
}

}  // namespace stepsize::trainer
