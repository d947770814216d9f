#pragma once

#include <ATen/Context.h>
#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <mutex>
#include <set>
#include <utility>
#include <vector>

namespace stepsize::detail {

/// The states of the default random generators of the CPU and of the devices
/// that tensors lie on.
class DefaultRandomState {
 public:
  explicit DefaultRandomState(const std::vector<at::Tensor>& tensors) {
    std::set<std::pair<int, int>> seen;
    add(at::Device(at::kCPU), seen);
    for (const auto& tensor : tensors) {
      add(tensor.device(), seen);
    }
  }

  void restore() {
    for (auto& [generator, state] : states_) {
      const std::lock_guard<std::mutex> lock(generator.mutex());
      generator.set_state(state);
    }
  }

 private:
  void add(at::Device device, std::set<std::pair<int, int>>& seen) {
    // Of the others LibTorch's context knows no generator in all versions.
    if (!(device.is_cpu() || device.is_cuda()) ||
        !seen.emplace(static_cast<int>(device.type()), device.index()).second) {
      return;
    }
    at::Generator generator = at::globalContext().defaultGenerator(device);
    const std::lock_guard<std::mutex> lock(generator.mutex());
    at::Tensor state = generator.get_state();
    states_.emplace_back(std::move(generator), std::move(state));
  }

  std::vector<std::pair<at::Generator, at::Tensor>> states_;
};

}  // namespace stepsize::detail
