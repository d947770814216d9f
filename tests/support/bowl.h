#pragma once

#include <torch/optim/optimizer.h>
#include <torch/types.h>

#include <cstddef>

namespace stepsize::test {

/// x'Hx / 2 with eigenvalues 1, 10 and 40, times a factor.
inline torch::Tensor bowl(const torch::Tensor& x, double factor = 1) {
  static const auto curvature =
      torch::tensor({1.0, 10.0, 40.0}, torch::kFloat64);
  return factor * (curvature * x.square()).sum() / 2;
}

/// The rate in a group's options.
inline double rate_of(
    const torch::optim::Optimizer& optimizer, std::size_t group = 0) {
  return optimizer.param_groups()[group].options().get_lr();
}

}  // namespace stepsize::test
