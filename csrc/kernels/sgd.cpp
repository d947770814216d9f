#include <stepsize/kernels/sgd.h>

#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <cstddef>
#include <vector>

#include "csrc/kernels/aten_sgd.h"
#include "csrc/kernels/compact_operands.h"
#include "csrc/kernels/cpu_work.h"
#include "csrc/kernels/device_lists.h"
#include "csrc/kernels/dispatch.h"
#include "csrc/kernels/operands.h"
#include "csrc/kernels/prefetch.h"

namespace stepsize {
namespace {

using detail::Operands;

constexpr detail::Signature kSGDSignature = {
    "sgd_step", {"parameter", "gradient", "momentum buffer"}};

void check_sgd_numbers(const SGDHyperparameters& h) {
  detail::check_not_negative(kSGDSignature.function, "lr", h.lr);
  detail::check_not_negative(kSGDSignature.function, "momentum", h.momentum);
  detail::check_not_negative(
      kSGDSignature.function, "weight_decay", h.weight_decay);
  TORCH_CHECK(
      std::isfinite(h.dampening),
      "sgd_step: dampening must be finite, got ",
      h.dampening);
  TORCH_CHECK(
      !h.nesterov || (h.momentum > 0.0 && h.dampening == 0.0),
      "sgd_step: nesterov wants momentum > 0 and dampening 0, got momentum ",
      h.momentum,
      " and dampening ",
      h.dampening);
}

detail::MomentumMode mode_of(const SGDHyperparameters& h, bool first) {
  if (h.momentum == 0.0) return detail::kNoMomentum;
  if (h.nesterov) return first ? detail::kFirstNesterov : detail::kNextNesterov;
  return first ? detail::kFirst : detail::kNext;
}

detail::SGDNumbers numbers_of(
    const SGDHyperparameters& h, const detail::Scale& scale) {
  const bool decoupled = h.decoupled_weight_decay;
  return {
      h.lr,
      h.momentum,
      1.0 - h.dampening,
      decoupled ? 0.0 : h.weight_decay,
      decoupled ? 1.0 - h.lr * h.weight_decay : 1.0,
      scale.coarse,
      h.maximize ? -scale.fine : scale.fine};
}

/// One of the loops is there.
struct SGDSlot {
  detail::SGDLoop loop;
  detail::CompactLoop<detail::SGDNumbers> compact;
  bool is_double;
};

}  // namespace

void sgd_step(
    at::TensorList params,
    at::TensorList grads,
    at::TensorList momentum_buffers,
    c10::ArrayRef<bool> first_step,
    const SGDHyperparameters& hyperparameters,
    const at::Tensor& grad_scale) {
  const bool has_momentum = hyperparameters.momentum != 0.0;
  check_sgd_numbers(hyperparameters);
  detail::check_length("sgd_step", "grads", grads.size(), params.size());
  detail::check_length(
      "sgd_step",
      has_momentum ? "momentum_buffers" : "momentum_buffers at momentum 0",
      momentum_buffers.size(),
      has_momentum ? params.size() : 0);
  if (!first_step.empty()) {
    detail::check_length(
        "sgd_step", "first_step", first_step.size(), params.size());
  }
  detail::check_scale("sgd_step", grad_scale);

  const at::NoGradGuard no_grad;
  const detail::LoopTable& table = detail::loops();
  const bool coupled = hyperparameters.weight_decay != 0.0 &&
                       !hyperparameters.decoupled_weight_decay;
  const auto operands_at = [&](size_t i) {
    return Operands{
        {&params[i], &grads[i], has_momentum ? &momentum_buffers[i] : nullptr},
        has_momentum ? 3 : 2};
  };
  const auto is_first = [&](size_t i) {
    return has_momentum && !first_step.empty() && first_step[i];
  };
  const auto seed_at = [&](size_t i) {
    return detail::rounding_seed(0, hyperparameters.rounding_seed, i);
  };
  detail::CpuWork<SGDSlot> cpu(params.size(), detail::kCodeBlock);
  detail::DeviceLists elsewhere;
  std::vector<size_t> compact_elsewhere;
  for (size_t i = 0; i < params.size(); ++i) {
    for (const at::TensorList list : {params, grads, momentum_buffers}) {
      detail::prefetch_tensor(list, i);
    }
    if (!grads[i].defined()) continue;
    const Operands operands = operands_at(i);
    const auto form =
        detail::compact_form_of(operands, hyperparameters.stochastic_rounding);
    if (form) {
      detail::check_compact_operands(
          kSGDSignature, static_cast<int64_t>(i), operands);
    } else {
      detail::check_operands(kSGDSignature, static_cast<int64_t>(i), operands);
    }
    const bool first = is_first(i);
    if (!params[i].is_cpu()) {
      if (form) {
        compact_elsewhere.push_back(i);
      } else {
        elsewhere.add(operands, first ? 1 : 0);
      }
      continue;
    }
    const detail::MomentumMode mode = mode_of(hyperparameters, first);
    if (form) {
      cpu.add_compact(
          operands, i, {nullptr, table.compact_sgd[*form][mode], false});
      continue;
    }
    const bool is_double = params[i].scalar_type() == at::kDouble;
    cpu.add(
        operands,
        i,
        {table.sgd[detail::format_of(operands)][mode][coupled],
         nullptr,
         is_double});
  }

  const auto step_elsewhere = [&](const detail::DeviceLists& lists) {
    for (const detail::DeviceList& list : lists.lists()) {
      detail::aten_sgd_step(
          list,
          list.tag == 1,
          hyperparameters,
          grad_scale,
          detail::fused_route_of(list));
    }
  };
  step_elsewhere(elsewhere);
  for (const size_t i : compact_elsewhere) {
    const detail::FullState full(operands_at(i), seed_at(i));
    detail::DeviceLists one;
    one.add(full.operands(), is_first(i) ? 1 : 0);
    step_elsewhere(one);
    full.write_back(grad_scale);
  }
  if (cpu.empty()) return;
  const detail::Scale scale = detail::read_scale(grad_scale);
  if (!scale.is_usable()) return;
  const detail::SGDNumbers numbers[2] = {
      numbers_of(hyperparameters, scale.for_type(false)),
      numbers_of(hyperparameters, scale.for_type(true))};
  cpu.run(
      [&](const SGDSlot& slot,
          size_t index,
          void* const* arrays,
          int64_t begin,
          int64_t end) {
        const detail::SGDNumbers& own = numbers[slot.is_double ? 1 : 0];
        if (slot.compact != nullptr) {
          slot.compact(
              detail::compact_arrays(arrays, params[index], seed_at(index)),
              begin,
              end,
              own);
        } else {
          slot.loop({arrays[0], arrays[1], arrays[2]}, begin, end, own);
        }
      },
      operands_at);
}

}  // namespace stepsize
