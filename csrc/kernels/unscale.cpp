#include "csrc/kernels/unscale.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_amp_foreach_non_finite_check_and_unscale.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>

#include <cstddef>
#include <cstdint>

#include "csrc/core/half.h"
#include "csrc/kernels/aten_ops.h"
#include "csrc/kernels/cpu_work.h"
#include "csrc/kernels/dispatch.h"
#include "csrc/kernels/operands.h"

namespace stepsize::detail {
namespace {

constexpr Signature kUnscaleSignature = {"unscale_", {"gradient"}};

struct UnscaleSlot {
  SumLoop<UnscaleNumbers> loop;
  UnscaleNumbers numbers;
};

UnscaleNumbers unscale_numbers(const Scale& inverse, bool is_double) {
  const Scale factors = inverse.for_type(is_double);
  return {factors.coarse, factors.fine};
}

// Those of one device and type.
struct UnscaleList {
  at::Device device;
  at::ScalarType type;
  std::vector<at::Tensor> gradients;
};

void add_to_lists(std::vector<UnscaleList>& lists, const at::Tensor& gradient) {
  for (UnscaleList& list : lists) {
    if (list.device == gradient.device() &&
        list.type == gradient.scalar_type()) {
      list.gradients.push_back(gradient);
      return;
    }
  }
  lists.push_back({gradient.device(), gradient.scalar_type(), {gradient}});
}

// Of a device, which may have no float64.
at::Tensor inverse_on(
    const at::Tensor& scale, at::Device device, at::ScalarType type) {
  const at::Tensor there = scale.to(device, /*non_blocking=*/!device.is_cpu());
  return device.is_mps() ? there.reciprocal().to(type)
                         : there.to(at::kDouble).reciprocal().to(type);
}

}  // namespace

at::Tensor unscale_by_operations(
    const std::vector<at::Tensor>& gradients, const at::Tensor& scale) {
  std::vector<at::Tensor> finite;
  finite.reserve(gradients.size());
  for (const at::Tensor& gradient : gradients) {
    finite.push_back(at::isfinite(gradient).all());
  }
  // The factor itself may be too small for a half type.
  const at::Tensor inverse = inverse_on(
      scale,
      gradients.front().device(),
      widened(gradients.front().scalar_type()));
  if (is_half(gradients.front().scalar_type())) {
    for (const at::Tensor& gradient : gradients) {
      gradient.copy_(gradient.to(at::kFloat).mul(inverse));
    }
  } else {
    multiply_each_(gradients, inverse);
  }
  return at::stack(finite).all().logical_not();
}

at::Tensor unscale_by_fused_operator(
    const std::vector<at::Tensor>& gradients, const at::Tensor& scale) {
  const at::Device device = gradients.front().device();
  at::Tensor found =
      at::zeros({1}, at::TensorOptions(at::kFloat).device(device));
  at::_amp_foreach_non_finite_check_and_unscale_(
      gradients, found, inverse_on(scale, device, at::kFloat));
  return found[0].ne(0);
}

at::Tensor unscale_each_(
    const std::vector<at::Tensor>& gradients, const at::Tensor& scale) {
  const at::NoGradGuard no_grad;
  const LoopTable& table = loops();
  CpuWork<UnscaleSlot> cpu(gradients.size());
  std::vector<UnscaleList> elsewhere;
  UnscaleNumbers numbers[2] = {};
  bool has_numbers = false;
  const auto operands_at = [&](std::size_t i) {
    return Operands{{&gradients[i]}, 1};
  };
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    const Operands operands = operands_at(i);
    check_operands(kUnscaleSignature, static_cast<int64_t>(i), operands);
    if (!gradients[i].is_cpu()) {
      if (gradients[i].numel() > 0) add_to_lists(elsewhere, gradients[i]);
      continue;
    }
    if (!has_numbers) {
      const Scale inverse = {1 / scale.item().toDouble()};
      numbers[0] = unscale_numbers(inverse, false);
      numbers[1] = unscale_numbers(inverse, true);
      has_numbers = true;
    }
    const bool is_double = gradients[i].scalar_type() == at::kDouble;
    cpu.add(
        operands,
        i,
        {table.unscale[format_of(operands)], numbers[is_double ? 1 : 0]});
  }
  at::Tensor found;
  for (const UnscaleList& list : elsewhere) {
    const at::Tensor own =
        list.device.is_cuda() ? unscale_by_fused_operator(list.gradients, scale)
                              : unscale_by_operations(list.gradients, scale);
    found = found.defined() ? found.logical_or(own.to(found.device())) : own;
  }
  bool found_here = false;
  if (!cpu.empty()) {
    std::vector<double> totals(gradients.size(), 0.0);
    cpu.run_sums(
        1,
        [](const UnscaleSlot& slot,
           void* const* arrays,
           int64_t begin,
           int64_t end,
           double* sums) { slot.loop(arrays, begin, end, slot.numbers, sums); },
        operands_at,
        totals);
    for (const double total : totals) found_here = found_here || total > 0;
  }
  if (!found.defined()) return at::scalar_tensor(found_here, at::kBool);
  return found_here ? at::ones_like(found) : found;
}

}  // namespace stepsize::detail
