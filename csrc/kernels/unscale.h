#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace stepsize::detail {

/// Divides gradients by a scale in place: they count times 1 / scale, rounded
/// to the type that they are computed in. Returns whether an element was NaN or
/// Inf before, a 0-dim tensor of bool: on the CPU where all gradients are, else
/// on another device of theirs, whose host does not wait.
///
/// `gradients`: dense, of float32, float64, bfloat16 or float16, none twice.
/// `scale`: 0-dim, finite and > 0; a gradient on the CPU waits for one that is
/// elsewhere.
///
/// Cost on a CPU: one pass, 8 bytes moved a float32 element. Throws c10::Error,
/// nothing changed, where a gradient cannot be written.
at::Tensor unscale_each_(
    const std::vector<at::Tensor>& gradients, const at::Tensor& scale);

/// The way of other devices, for those of one device and type.
at::Tensor unscale_by_operations(
    const std::vector<at::Tensor>& gradients, const at::Tensor& scale);

/// LibTorch's fused operator for those of one device and type: on CUDA, and
/// from 2.3 on on a CPU.
at::Tensor unscale_by_fused_operator(
    const std::vector<at::Tensor>& gradients, const at::Tensor& scale);

}  // namespace stepsize::detail
