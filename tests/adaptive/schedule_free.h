#pragma once

// What the tests of the Schedule-Free optimizers have in common.

#include <stepsize/adaptive/schedule_free_optimizer.h>
#include <torch/torch.h>

#include <cstdint>

namespace stepsize::test {

// Waves, the same with every library.
inline torch::Tensor free_wave(int64_t count, double phase) {
  return torch::sin(
      torch::arange(1, count + 1, torch::kFloat64).mul(1.7).add(phase));
}

inline double free_difference(const torch::Tensor& a, const torch::Tensor& b) {
  return (a.detach().to(torch::kFloat64) - b.detach().to(torch::kFloat64))
      .abs()
      .max()
      .item<double>();
}

inline ParameterState free_state(
    ScheduleFreeOptimizer& optimizer, int64_t group = 0, int64_t index = 0) {
  ParameterState state;
  optimizer.state_access()->read(group, index, state);
  return state;
}

}  // namespace stepsize::test
