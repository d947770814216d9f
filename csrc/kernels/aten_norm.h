#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/kernels/grad_norm.h>

#include <vector>

namespace stepsize::detail {

/// The norm of dense non-empty tensors on `device`, any device, with LibTorch's
/// operators; float64 where the device has it.
at::Tensor aten_norm(
    const std::vector<at::Tensor>& tensors, NormType type, at::Device device);

/// The norm of everything from the norms of parts, 0-dim, on `device`. Parts
/// whose squares leave the range of their type lose nothing.
at::Tensor combined_norm(
    const std::vector<at::Tensor>& norms, NormType type, at::Device device);

/// clip_coefficient on any device, which the host does not wait for.
at::Tensor aten_clip_coefficient(const at::Tensor& norm, double max_norm);

}  // namespace stepsize::detail
