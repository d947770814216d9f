#include "csrc/kernels/aten_adam.h"

#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_addcmul.h>
#include <ATen/ops/_foreach_div.h>
#include <ATen/ops/_foreach_maximum.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_sqrt.h>
#include <ATen/ops/full.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <cstddef>

#include "csrc/kernels/aten_ops.h"
#include "csrc/kernels/scale_gate.h"

namespace stepsize::detail {
namespace {

using Tensors = std::vector<at::Tensor>;

void foreach_step(
    const DeviceList& list,
    int64_t step,
    const AdamHyperparameters& h,
    const ScaleGate& gate) {
  const at::ScalarType type = math_type(list);
  const Tensors params = in_type(list.params, type);
  const Tensors means = in_type(list.states[0], type);
  const Tensors squares = in_type(list.states[1], type);
  const Tensors max_squares = in_type(list.states[2], type);
  const BiasCorrection correction = bias_correction(h, step);
  Tensors grads = gate.gradients(list.grads, h.maximize, type);
  if (h.decoupled_weight_decay) {
    gate.multiply(params, 1.0 - h.lr * h.weight_decay, 1.0);
  } else if (h.weight_decay != 0.0) {
    grads = at::_foreach_add(grads, gate.times(params, h.weight_decay, 0.0));
  }
  gate.multiply(means, h.beta1, 1.0);
  at::_foreach_add_(means, grads, 1.0 - h.beta1);
  gate.multiply(squares, h.beta2, 1.0);
  at::_foreach_addcmul_(squares, grads, grads, 1.0 - h.beta2);
  if (h.amsgrad) at::_foreach_maximum_(max_squares, squares);
  const Tensors denominators =
      at::_foreach_sqrt(h.amsgrad ? max_squares : squares);
  at::_foreach_mul_(denominators, correction.inverse_root);
  gate.add(denominators, h.eps, 1.0);
  const Tensors updates = at::_foreach_div(means, denominators);
  if (h.cautious) {
    constexpr double kLeastShare = 1e-3;
    for (std::size_t i = 0; i < updates.size(); ++i) {
      if (updates[i].numel() == 0) continue;
      // Not "> 0", so that a NaN gets on.
      const at::Tensor mask = means[i].mul(grads[i]).le(0).logical_not();
      const at::Tensor share = mask.to(type).mean().clamp_min(kLeastShare);
      updates[i].copy_(at::where(
          mask, updates[i].div(share), at::zeros({}, updates[i].options())));
    }
  }
  gate.multiply(updates, correction.step_size, 0.0);
  at::_foreach_add_(params, updates, -1.0);
  return_from_type(list.params, params);
  return_from_type(list.states[0], means);
  return_from_type(list.states[1], squares);
  return_from_type(list.states[2], max_squares);
}

void fused_step(
    const DeviceList& list,
    int64_t step,
    const AdamHyperparameters& h,
    const ScaleGate& gate) {
  const at::Tensor& param = list.params.front();
  // Given the scale the operator would write the scaled gradients back.
  const Tensors grads = gate.for_fused(list.grads);
  const at::Tensor step_count = at::full(
      {}, static_cast<double>(step), param.options().dtype(at::kFloat));
  const Tensors steps(list.params.size(), step_count);
  fused_adam_(
      list.params,
      grads,
      list.states[0],
      list.states[1],
      list.states[2],
      steps,
      {h.lr,
       h.beta1,
       h.beta2,
       h.weight_decay,
       h.eps,
       h.amsgrad,
       h.maximize,
       h.decoupled_weight_decay},
      gate.found_inf());
}

}  // namespace

BiasCorrection bias_correction(const AdamHyperparameters& h, int64_t step) {
  const double t = static_cast<double>(step);
  return {
      h.lr / (1.0 - std::pow(h.beta1, t)),
      1.0 / std::sqrt(1.0 - std::pow(h.beta2, t))};
}

void aten_adam_step(
    const DeviceList& list,
    int64_t step,
    const AdamHyperparameters& hyperparameters,
    const at::Tensor& grad_scale,
    Route route) {
  const ScaleGate gate(grad_scale, list.params.front().device());
  if (route == Route::kFused) {
    fused_step(list, step, hyperparameters, gate);
  } else {
    foreach_step(list, step, hyperparameters, gate);
  }
}

}  // namespace stepsize::detail
