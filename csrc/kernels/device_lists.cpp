#include "csrc/kernels/device_lists.h"

#include "csrc/kernels/aten_ops.h"

namespace stepsize::detail {
namespace {

bool fits(const DeviceList& list, const Operands& operands, int64_t tag) {
  const at::Tensor& param = list.params.front();
  if (list.tag != tag || param.device() != operands.param().device() ||
      param.scalar_type() != operands.param().scalar_type()) {
    return false;
  }
  return operands.count < 3 || list.states[0].front().scalar_type() ==
                                   operands.tensors[2]->scalar_type();
}

/// Fused operators walk all tensors of a parameter as one array each.
bool is_alike(const at::Tensor& param, const at::Tensor& other) {
  return is_flat(other) && other.strides() == param.strides() &&
         other.scalar_type() == param.scalar_type();
}

}  // namespace

void DeviceLists::add(const Operands& operands, int64_t tag) {
  if (operands.param().numel() == 0) return;
  DeviceList* list = nullptr;
  for (DeviceList& candidate : lists_) {
    if (fits(candidate, operands, tag)) list = &candidate;
  }
  if (list == nullptr) {
    lists_.emplace_back();
    list = &lists_.back();
    list->tag = tag;
  }
  list->params.push_back(operands.param());
  list->grads.push_back(written_out(operands.grad()));
  for (int i = 2; i < operands.count; ++i) {
    list->states[i - 2].push_back(*operands.tensors[i]);
  }
}

bool fits_fused_operators(const DeviceList& list) {
  // They take gradients of the parameter's type: scaled, a half would be
  // rounded before it is used.
  if (math_type(list) != list.params.front().scalar_type()) return false;
  for (size_t i = 0; i < list.params.size(); ++i) {
    const at::Tensor& param = list.params[i];
    bool alike = is_alike(param, param) && is_alike(param, list.grads[i]);
    for (const std::vector<at::Tensor>& states : list.states) {
      alike = alike && (states.empty() || is_alike(param, states[i]));
    }
    if (!alike) return false;
  }
  return true;
}

Route fused_route_of(const DeviceList& list) {
  const bool fused = has_fused_operators() && list.params.front().is_cuda() &&
                     fits_fused_operators(list);
  return fused ? Route::kFused : Route::kForeach;
}

std::vector<at::Tensor> in_type(
    const std::vector<at::Tensor>& list, at::ScalarType type) {
  std::vector<at::Tensor> result;
  result.reserve(list.size());
  for (const at::Tensor& tensor : list) result.push_back(tensor.to(type));
  return result;
}

void return_from_type(
    const std::vector<at::Tensor>& to, const std::vector<at::Tensor>& from) {
  if (to.empty() || to.front().scalar_type() == from.front().scalar_type()) {
    return;
  }
  copy_each_(to, from);
}

at::ScalarType math_type(const DeviceList& list) {
  const at::ScalarType type = list.params.front().scalar_type();
  return type == at::kDouble ? at::kDouble : at::kFloat;
}

}  // namespace stepsize::detail
