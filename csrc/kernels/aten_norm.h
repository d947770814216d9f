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

/// The same as a fraction and a unit, {norm / unit, unit}, whose product may be
/// beyond the range of their type. Two more passes over float64 tensors and a
/// copy of them; with others the unit is 1.
at::Tensor aten_norm_in_parts(
    const std::vector<at::Tensor>& tensors, NormType type, at::Device device);
at::Tensor combined_norm_in_parts(
    const std::vector<at::Tensor>& norms, NormType type, at::Device device);

/// clip_coefficient on any device, which the host does not wait for.
at::Tensor aten_clip_coefficient(const at::Tensor& norm, double max_norm);
/// The same of a norm in parts, in two factors.
at::Tensor aten_coefficient_in_parts(const at::Tensor& norm, double max_norm);

}  // namespace stepsize::detail
