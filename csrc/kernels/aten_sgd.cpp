#include "csrc/kernels/aten_sgd.h"

#include <ATen/ops/_foreach_add.h>

#include "csrc/kernels/aten_ops.h"
#include "csrc/kernels/scale_gate.h"

namespace stepsize::detail {
namespace {

using Tensors = std::vector<at::Tensor>;

void foreach_step(
    const DeviceList& list,
    bool first,
    const SGDHyperparameters& h,
    const ScaleGate& gate) {
  const at::ScalarType type = math_type(list);
  const Tensors params = in_type(list.params, type);
  const Tensors buffers = in_type(list.states[0], type);
  Tensors direction = gate.gradients(list.grads, h.maximize, type);
  if (h.weight_decay != 0.0 && !h.decoupled_weight_decay) {
    direction =
        at::_foreach_add(direction, gate.times(params, h.weight_decay, 0.0));
  }
  if (!buffers.empty()) {
    if (first) {
      gate.copy(buffers, direction);
    } else {
      gate.multiply(buffers, h.momentum, 1.0);
      at::_foreach_add_(buffers, direction, 1.0 - h.dampening);
    }
    direction =
        h.nesterov
            ? at::_foreach_add(direction, gate.times(buffers, h.momentum, 0.0))
            : buffers;
  }
  if (h.decoupled_weight_decay) {
    gate.multiply(params, 1.0 - h.lr * h.weight_decay, 1.0);
  }
  at::_foreach_add_(params, gate.times(direction, h.lr, 0.0), -1.0);
  return_from_type(list.params, params);
  return_from_type(list.states[0], buffers);
}

void fused_step(
    const DeviceList& list,
    bool first,
    const SGDHyperparameters& h,
    const ScaleGate& gate) {
  // Given the scale the operator would write the scaled gradients back.
  const Tensors grads = gate.for_fused(list.grads);
  const bool decoupled = h.decoupled_weight_decay;
  if (decoupled) {
    gate.multiply(list.params, 1.0 - h.lr * h.weight_decay, 1.0);
  }
  fused_sgd_(
      list.params,
      grads,
      list.states[0],
      {decoupled ? 0.0 : h.weight_decay,
       h.momentum,
       h.lr,
       h.dampening,
       h.nesterov,
       h.maximize,
       first},
      gate.found_inf());
}

}  // namespace

void aten_sgd_step(
    const DeviceList& list,
    bool first,
    const SGDHyperparameters& hyperparameters,
    const at::Tensor& grad_scale,
    Route route) {
  const ScaleGate gate(grad_scale, list.params.front().device());
  if (route == Route::kFused) {
    fused_step(list, first, hyperparameters, gate);
  } else {
    foreach_step(list, first, hyperparameters, gate);
  }
}

}  // namespace stepsize::detail
