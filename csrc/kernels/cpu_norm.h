#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/kernels/grad_norm.h>

#include <vector>

namespace stepsize::detail {

/// The norm of dense and plain CPU tensors of types that the loops have.
double cpu_norm(const std::vector<at::Tensor>& tensors, NormType type);

}  // namespace stepsize::detail
