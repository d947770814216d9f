#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/kernels/compact_state.h>

#include <cstdint>
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

/// What a parameter's state is rounded by in a step: `base` is the caller's,
/// `index` the parameter's in its list.
uint32_t rounding_seed(int64_t base, int64_t step, size_t index);

/// The elements of operands as a compact loop takes them.
inline CompactArrays compact_arrays(
    void* const* arrays, const at::Tensor& parameter, uint32_t seed) {
  return {
      arrays[0],
      arrays[1],
      {arrays[2], arrays[3], arrays[4]},
      parameter.numel(),
      static_cast<Format>(element_type(parameter.scalar_type())),
      seed};
}

/// The compact state of one parameter as full state, for a step on a device
/// without loops. As one parameter is stepped after the other, no more than one
/// is full at a time.
class FullState {
 public:
  FullState(const Operands& operands, uint32_t seed);
  FullState(const FullState&) = delete;
  FullState& operator=(const FullState&) = delete;

  /// With full states, which live as long as this object.
  const Operands& operands() const { return full_; }

  /// Makes them compact again, where `grad_scale` is undefined or finite.
  void write_back(const at::Tensor& grad_scale = {}) const;

 private:
  Operands compact_;
  Operands full_;
  at::Tensor states_[kMostCompactStates];
  uint32_t seed_;
};

}  // namespace stepsize::detail
