#include "csrc/optim/state_tensor.h"

#include "csrc/kernels/compact_operands.h"

namespace stepsize::detail {
namespace {

StateType own_type(const at::Tensor& parameter, StateType type) {
  return type == StateType::kFloat32 || keeps_full_state(parameter)
             ? StateType::kFloat32
             : type;
}

}  // namespace

bool is_in_form(
    const at::Tensor& state, const at::Tensor& parameter, StateType type) {
  if (!state.defined()) return false;
  const at::ScalarType there = state.scalar_type();
  switch (own_type(parameter, type)) {
    case StateType::kBFloat16:
      return there == at::kBFloat16;
    case StateType::kBlockwise8Bit:
      return there == at::kByte;
    case StateType::kFloat32:
      break;
  }
  return there != at::kBFloat16 && there != at::kByte;
}

at::Tensor state_in_form(
    const at::Tensor& state,
    const at::Tensor& parameter,
    StateType type,
    std::size_t kind) {
  if (is_in_form(state, parameter, type)) return state;
  const StateType own = own_type(parameter, type);
  const bool full = own == StateType::kFloat32;
  if (!state.defined()) {
    return full ? new_state_like(parameter) : new_compact_state(parameter, own);
  }
  const at::Tensor numbers = full_state(state, parameter, kind > 0);
  return full ? new_state_like(parameter).copy_(numbers)
              : compact_state(numbers, own, kind > 0);
}

}  // namespace stepsize::detail
