#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/kernels/grad_norm.h>

#include <vector>

namespace stepsize::detail {

/// A norm that may be beyond the range of a double: fraction * unit.
struct WideNorm {
  double fraction;
  double unit = 1;  ///< a power of two in [2^-1000, 2^1000]

  double value() const { return fraction * unit; }
};

/// The norm of dense and plain CPU tensors of types that the loops have.
WideNorm cpu_norm(const std::vector<at::Tensor>& tensors, NormType type);

}  // namespace stepsize::detail
