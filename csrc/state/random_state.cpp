#include "csrc/state/random_state.h"

#include <ATen/Context.h>
#include <torch/cuda.h>

#include <algorithm>
#include <mutex>
#include <utility>

namespace stepsize::detail {

at::Tensor state_of(const at::Generator& generator) {
  at::Generator same = generator;
  const std::lock_guard<std::mutex> lock(same.mutex());
  return same.get_state().clone();
}

void set_state(const at::Generator& generator, const at::Tensor& state) {
  at::Generator same = generator;
  const std::lock_guard<std::mutex> lock(same.mutex());
  same.set_state(state.clone());
}

at::Generator default_generator(const at::Device& device) {
  return at::globalContext().defaultGenerator(device);
}

std::size_t cuda_devices() {
  return torch::cuda::is_available() ? torch::cuda::device_count() : 0;
}

std::vector<at::Generator> generators_of(
    const std::vector<at::Tensor>& tensors,
    const std::vector<at::Generator>& given) {
  std::vector<at::Generator> all;
  const auto add = [&all](const at::Generator& generator) {
    if (std::find(all.begin(), all.end(), generator) == all.end()) {
      all.push_back(generator);
    }
  };
  for (const at::Generator& generator : given) add(generator);
  add(default_generator(at::kCPU));
  for (const at::Tensor& tensor : tensors) {
    if (tensor.is_cuda()) add(default_generator(tensor.device()));
  }
  return all;
}

RandomState::RandomState(std::vector<at::Generator> generators)
    : generators_(std::move(generators)) {
  for (const at::Generator& generator : generators_) {
    states_.push_back(state_of(generator));
  }
}

void RandomState::restore() const {
  for (std::size_t i = 0; i < generators_.size(); ++i) {
    set_state(generators_[i], states_[i]);
  }
}

}  // namespace stepsize::detail
