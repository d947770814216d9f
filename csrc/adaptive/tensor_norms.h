#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace stepsize::detail {

/// The 2-norm of each tensor, on the host: an accelerator is waited for once.
std::vector<double> tensor_norms(const std::vector<at::Tensor>& tensors);

}  // namespace stepsize::detail
