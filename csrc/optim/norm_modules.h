#pragma once

#include <ATen/core/Tensor.h>

#include <string>

namespace torch::nn {
class Module;
}  // namespace torch::nn

namespace stepsize::detail {

/// Whether the module, which holds the parameter itself, is one of LibTorch's
/// batch, layer, group or instance norms. A norm written by hand is known by
/// the end of its class's name ("RMSNorm", "Norm2d", with "Impl" or without),
/// and for a parameter that is long in one dimension at most: those which wrap
/// a weight (a weight norm) are called so too.
bool is_norm_parameter(
    const torch::nn::Module& module, const at::Tensor& parameter);

/// Whether "bias" is a word of the name: bias, in_proj_bias, bias_ih_l0.
bool is_bias_name(const std::string& name);

}  // namespace stepsize::detail
