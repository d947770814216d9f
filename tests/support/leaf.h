#pragma once

#include <torch/types.h>

#include <vector>

namespace stepsize::test {

inline torch::Tensor vector_of(const std::vector<double>& values) {
  return torch::tensor(values, torch::kFloat64);
}

/// A float64 parameter.
inline torch::Tensor leaf(const std::vector<double>& values) {
  return vector_of(values).set_requires_grad(true);
}

}  // namespace stepsize::test
