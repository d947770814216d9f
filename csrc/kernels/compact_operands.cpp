#include "csrc/kernels/compact_operands.h"

#include <ATen/Functions.h>
#include <c10/util/Exception.h>

#include <memory>
#include <utility>

#include "csrc/kernels/compact_loops.h"

namespace stepsize::detail {

int64_t compact_bytes(int64_t elements) {
  return code_bytes(elements) +
         code_blocks(elements) * static_cast<int64_t>(sizeof(float));
}

at::Tensor new_compact_state(const at::Tensor& parameter, StateType type) {
  const at::TensorOptions options =
      at::TensorOptions().device(parameter.device());
  if (type == StateType::kBFloat16) {
    return at::zeros(parameter.sizes(), options.dtype(at::kBFloat16));
  }
  TORCH_INTERNAL_ASSERT(type == StateType::kBlockwise8Bit);
  return at::zeros(
      {compact_bytes(parameter.numel())}, options.dtype(at::kByte));
}

bool is_8bit_state(const at::Tensor& state, const at::Tensor& parameter) {
  return state.scalar_type() == at::kByte && state.dim() == 1 &&
         state.numel() == compact_bytes(parameter.numel());
}

std::optional<CompactForm> compact_form_of(
    const Operands& operands, bool bfloat16_is_compact) {
  if (operands.count < 3 || !operands.tensors[2]->defined()) return {};
  const at::ScalarType type = operands.tensors[2]->scalar_type();
  if (type == at::kByte) return kCompact8Bit;
  if (type == at::kBFloat16 && bfloat16_is_compact) return kCompactBFloat16;
  return {};
}

void check_compact_operands(
    const Signature& signature, int64_t index, const Operands& operands) {
  check_operands(
      signature,
      index,
      Operands{{operands.tensors[0], operands.tensors[1]}, 2});
  const at::Tensor& param = operands.param();
  TORCH_CHECK(
      param.scalar_type() != at::kDouble,
      signature.function,
      ": ",
      signature.names[0],
      " ",
      index,
      " must not be float64, whose state is not compact");
  const at::ScalarType type = operands.tensors[2]->scalar_type();
  for (int i = 2; i < operands.count; ++i) {
    const at::Tensor& state = *operands.tensors[i];
    const bool fits = state.defined() && state.scalar_type() == type &&
                      state.device() == param.device() &&
                      state.is_contiguous() && is_plain(state) &&
                      (type == at::kByte ? is_8bit_state(state, param)
                                         : state.sizes() == param.sizes());
    TORCH_CHECK(
        fits,
        signature.function,
        ": ",
        signature.names[i],
        " ",
        index,
        " must be a compact state, contiguous, for its parameter of shape ",
        param.sizes(),
        " on ",
        param.device(),
        ", and of the type of its ",
        signature.names[2],
        ", ",
        type);
  }
}

Operands FullStates::add(const Operands& operands, int64_t step) {
  Operands full = operands;
  for (int i = 2; i < operands.count; ++i) {
    const bool is_unsigned = i > 2;
    auto own = std::make_unique<at::Tensor>(
        full_state(*operands.tensors[i], operands.param(), is_unsigned));
    full.tensors[i] = own.get();
    states_.push_back(
        {*operands.tensors[i],
         std::move(own),
         is_unsigned,
         seed_of_state(static_cast<uint32_t>(step), i - 2)});
  }
  return full;
}

void FullStates::write_back(const at::Tensor& grad_scale) const {
  for (const One& one : states_) {
    const StateType type = one.compact.scalar_type() == at::kByte
                               ? StateType::kBlockwise8Bit
                               : StateType::kBFloat16;
    const at::Tensor compact =
        compact_state(*one.full, type, one.is_unsigned, one.seed);
    if (grad_scale.defined()) {
      one.compact.copy_(at::where(
          grad_scale.isfinite().all().to(one.compact.device()),
          compact,
          one.compact));
    } else {
      one.compact.copy_(compact);
    }
  }
}

}  // namespace stepsize::detail
