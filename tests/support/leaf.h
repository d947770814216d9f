#pragma once

#include <torch/types.h>

#include <vector>

namespace stepsize::test {

/// A float64 parameter.
inline torch::Tensor leaf(const std::vector<double>& values) {
  return torch::tensor(values, torch::kFloat64).set_requires_grad(true);
}

}  // namespace stepsize::test
