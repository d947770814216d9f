#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/ArrayRef.h>
#include <stepsize/kernels/compact_state.h>

#include <cstddef>
#include <memory>

#include "csrc/optim/operand_checks.h"

namespace stepsize::detail {

/// Zeros to keep a state in: of the parameter's shape, strides and device, and
/// of its state_type().
inline at::Tensor new_state_like(const at::Tensor& parameter) {
  return at::zeros_like(
      parameter, parameter.options().dtype(state_type(parameter)));
}

/// Whether there is a state, and in the form that is asked for.
bool is_in_form(
    const at::Tensor& state, const at::Tensor& parameter, StateType type);
/// A state in that form: zeros where there is none, itself, or made anew.
/// `kind` is its place among the kinds of state, of which the first has signs.
at::Tensor state_in_form(
    const at::Tensor& state,
    const at::Tensor& parameter,
    StateType type,
    std::size_t kind);

/// One flag a parameter; none is set, and none stored, where all have state.
class FirstSteps {
 public:
  explicit FirstSteps(std::size_t count) : count_(count) {}

  void set(std::size_t index) {
    if (flags_ == nullptr) {
      flags_ = std::make_unique<bool[]>(count_);
    }
    flags_[index] = true;
  }

  bool any() const { return flags_ != nullptr; }

  c10::ArrayRef<bool> flags() const {
    return any() ? c10::ArrayRef<bool>(flags_.get(), count_)
                 : c10::ArrayRef<bool>();
  }

 private:
  std::size_t count_;
  std::unique_ptr<bool[]> flags_;
};

}  // namespace stepsize::detail
