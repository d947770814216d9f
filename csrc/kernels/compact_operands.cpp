#include "csrc/kernels/compact_operands.h"

#include <ATen/Functions.h>
#include <c10/util/Exception.h>

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
    check_writable(signature, index, i, state);
  }
}

uint32_t rounding_seed(int64_t base, int64_t step, size_t index) {
  const auto folded = [](int64_t x) {
    const auto bits = static_cast<uint64_t>(x);
    return static_cast<uint32_t>(bits ^ (bits >> 32));
  };
  return mixed(
      mixed(mixed(folded(base)) + folded(step)) + static_cast<uint32_t>(index));
}

FullState::FullState(const Operands& operands, uint32_t seed)
    : compact_(operands), full_(operands), seed_(seed) {
  for (int i = 2; i < operands.count; ++i) {
    states_[i - 2] = full_state(*operands.tensors[i], operands.param(), i > 2);
    full_.tensors[i] = &states_[i - 2];
  }
}

void FullState::write_back(const at::Tensor& grad_scale) const {
  for (int i = 2; i < compact_.count; ++i) {
    const at::Tensor& there = *compact_.tensors[i];
    const StateType type = there.scalar_type() == at::kByte
                               ? StateType::kBlockwise8Bit
                               : StateType::kBFloat16;
    at::Tensor now = compact_state(
        *full_.tensors[i], type, i > 2, seed_of_state(seed_, i - 2));
    if (grad_scale.defined()) {
      now =
          at::where(grad_scale.isfinite().all().to(there.device()), now, there);
    }
    there.copy_(now);
  }
}

}  // namespace stepsize::detail
