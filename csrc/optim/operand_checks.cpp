#include "csrc/optim/operand_checks.h"

#include <ATen/MemoryOverlap.h>
#include <c10/util/Exception.h>

#include "csrc/core/half.h"
#include "csrc/kernels/compact_operands.h"

namespace stepsize::detail {
namespace {

bool can_be_stepped(at::ScalarType type) {
  return type == at::kFloat || type == at::kDouble || is_half(type);
}

std::string text_of(const Place& place) {
  return "parameter " + std::to_string(place.index) + " of group " +
         std::to_string(place.group);
}

}  // namespace

at::ScalarType state_type(const at::Tensor& parameter) {
  return widened(parameter.scalar_type());
}

bool is_compact_state(const at::Tensor& state, const at::Tensor& parameter) {
  if (parameter.scalar_type() == at::kDouble || !state.is_contiguous()) {
    return false;
  }
  return is_8bit_state(state, parameter) ||
         (state.scalar_type() == at::kBFloat16 &&
          state.sizes() == parameter.sizes());
}

void check_parameters(
    const std::string& kind,
    const std::vector<at::Tensor>& parameters,
    std::unordered_set<const void*>& known) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor& parameter = parameters[i];
    TORCH_CHECK(
        parameter.defined(),
        kind,
        ": parameters must be defined; number ",
        std::to_string(i),
        " is not");
    TORCH_CHECK(
        parameter.is_leaf(),
        kind,
        ": parameters must be leaves; number ",
        std::to_string(i),
        " is computed from others");
    TORCH_CHECK(
        known.insert(parameter.unsafeGetTensorImpl()).second,
        kind,
        ": a parameter may stand in one place only; number ",
        std::to_string(i),
        " is there already. Pass a shared tensor (tied weights) once");
  }
}

void check_gradient_fits(
    const std::string& kind,
    const Place& place,
    const at::Tensor& gradient,
    const at::Tensor& parameter) {
  TORCH_CHECK(
      gradient.layout() == at::kStrided,
      kind,
      ": gradients must be dense; ",
      text_of(place),
      " has one of layout ",
      gradient.layout());
  TORCH_CHECK(
      can_be_stepped(parameter.scalar_type()),
      kind,
      ": parameters must be float32, float64, bfloat16 or float16; ",
      text_of(place),
      " is ",
      parameter.scalar_type());
  TORCH_CHECK(
      gradient.scalar_type() == parameter.scalar_type(),
      kind,
      ": a gradient must be of its parameter's type; ",
      text_of(place),
      " is ",
      parameter.scalar_type(),
      ", its gradient ",
      gradient.scalar_type());
  TORCH_CHECK(
      gradient.sizes() == parameter.sizes(),
      kind,
      ": a gradient must be of its parameter's shape; ",
      text_of(place),
      " is of ",
      parameter.sizes(),
      ", its gradient of ",
      gradient.sizes());
  TORCH_CHECK(
      gradient.device() == parameter.device(),
      kind,
      ": a gradient must be on its parameter's device; ",
      text_of(place),
      " is on ",
      parameter.device(),
      ", its gradient on ",
      gradient.device());
  TORCH_CHECK(
      parameter.is_contiguous() ||
          at::has_internal_overlap(parameter) != at::MemOverlap::Yes,
      kind,
      ": a parameter must not overlap itself; ",
      text_of(place),
      " is of shape ",
      parameter.sizes(),
      " with strides ",
      parameter.strides());
}

void check_state_fits(
    const std::string& kind,
    const std::string& name,
    const Place& place,
    const at::Tensor& state,
    const at::Tensor& parameter,
    bool may_be_compact) {
  const bool full = state.sizes() == parameter.sizes() &&
                    state.scalar_type() == state_type(parameter);
  TORCH_CHECK(
      state.device() == parameter.device() &&
          (full || (may_be_compact && is_compact_state(state, parameter))),
      kind,
      ": ",
      text_of(place),
      " is no longer what its ",
      name,
      " was made for (",
      state.scalar_type(),
      " ",
      state.sizes(),
      " on ",
      state.device(),
      "; now ",
      parameter.scalar_type(),
      " ",
      parameter.sizes(),
      " on ",
      parameter.device(),
      "): make a new optimizer after a conversion");
}

}  // namespace stepsize::detail
