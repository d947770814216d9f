#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/kernels/compact_state.h>
#include <stepsize/kernels/sgd.h>

#include <vector>

namespace stepsize::detail {

/// sgd_step over one group. A momentum buffer that is missing is made by the
/// first step of its parameter, and left out of `buffers` where the step is
/// refused. Without momentum `buffers` is not looked at.
void sgd_group_step(
    const std::vector<at::Tensor>& parameters,
    const std::vector<at::Tensor>& gradients,
    std::vector<at::Tensor>& buffers,
    const SGDHyperparameters& numbers,
    const at::Tensor& grad_scale = {},
    StateType type = StateType::kFloat32);

}  // namespace stepsize::detail
