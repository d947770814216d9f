#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace stepsize {

/// How an optimizer keeps its state of a parameter. That of float64 parameters,
/// and of those that keeps_full_state() names, is not compact in any case.
enum class StateType : std::uint8_t {
  kFloat32,        ///< four bytes an element; of float64 parameters eight
  kBFloat16,       ///< two
  kBlockwise8Bit,  ///< one, and four for each 256 elements
};

/// Whether the state of a parameter stays in four bytes whatever is asked for:
/// of fewer than 4096 elements, or of one dimension and fewer than 65536
/// (biases and norms), as there is little to save, or of float64.
bool keeps_full_state(const at::Tensor& parameter);

/// Numbers in a compact form, each rounded to one of the two next ones by
/// chance, so that its mean is kept; the chance follows from `seed` and the
/// place alone. kBFloat16: of the shape of `values`. kBlockwise8Bit: a vector
/// of bytes. Blocks of 256 elements, in the order of indices, share a factor,
/// and an element is one of 256 values of the dynamic tree of Dettmers et al.
/// (8-bit Optimizers via Block-wise Quantization, 2022), with `is_unsigned` one
/// that has no sign. Near its block's largest magnitude it is off by 1.4% of
/// that at most (.7% unsigned), and by a fifth of it each decade lower. The
/// largest keeps its value; a NaN or an Inf makes its whole block NaN. Throws
/// c10::Error unless `values` are of float32.
at::Tensor compact_state(
    const at::Tensor& values,
    StateType type,
    bool is_unsigned = false,
    std::uint32_t seed = 0);

/// The numbers of a state that an optimizer keeps for a parameter, in float32,
/// or in float64 where it is kept so; of the parameter's shape.
/// Throws c10::Error where the state does not fit the parameter.
at::Tensor full_state(
    const at::Tensor& state,
    const at::Tensor& parameter,
    bool is_unsigned = false);

}  // namespace stepsize
