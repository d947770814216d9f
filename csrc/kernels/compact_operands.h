#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/kernels/compact_state.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "csrc/kernels/operands.h"

namespace stepsize::detail {

/// Bytes of a state of eight bits for so many elements.
int64_t compact_bytes(int64_t elements);

/// Zeros to keep a state in; `type` is not kFloat32.
at::Tensor new_compact_state(const at::Tensor& parameter, StateType type);

/// Whether a tensor is a state of eight bits for a parameter.
bool is_8bit_state(const at::Tensor& state, const at::Tensor& parameter);

/// The form of operands whose state is compact, none where it is not. In
/// bfloat16 it is what is kept so for a parameter of another type, or with
/// `bfloat16_is_compact` in any case.
std::optional<CompactForm> compact_form_of(
    const Operands& operands, bool bfloat16_is_compact);

/// Throws unless operands with compact state fit together.
void check_compact_operands(
    const Signature& signature, int64_t index, const Operands& operands);

/// The elements of operands as a compact loop takes them.
inline CompactArrays compact_arrays(
    void* const* arrays, const at::Tensor& parameter, int64_t step) {
  return {
      arrays[0],
      arrays[1],
      {arrays[2], arrays[3], arrays[4]},
      parameter.numel(),
      static_cast<Format>(element_type(parameter.scalar_type())),
      static_cast<uint32_t>(step)};
}

/// Compact state that is stepped as full state, on devices without loops: made
/// full at first, and compact again at the end.
class FullStates {
 public:
  /// Operands whose states, from the second on unsigned, are full ones that
  /// live as long as this object.
  Operands add(const Operands& operands, int64_t step);

  /// Makes them compact again, where `grad_scale` is undefined or finite.
  void write_back(const at::Tensor& grad_scale) const;

 private:
  struct One {
    at::Tensor compact;
    std::unique_ptr<at::Tensor> full;
    bool is_unsigned;
    uint32_t seed;
  };

  std::vector<One> states_;
};

}  // namespace stepsize::detail
