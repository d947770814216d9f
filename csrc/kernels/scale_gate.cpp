#include "csrc/kernels/scale_gate.h"

#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_neg.h>
#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <limits>

#include "csrc/kernels/aten_ops.h"
#include "csrc/kernels/device_lists.h"

namespace stepsize::detail {

ScaleGate::ScaleGate(const at::Tensor& scale, at::Device device) {
  if (!scale.defined()) return;
  // A host that does not wait for a copy to itself reads what was there before.
  scale_ = scale.to(device, /*non_blocking=*/!device.is_cpu());
  // Finite also in float32, which most steps are computed in.
  finite_ =
      at::isfinite((scale_.dim() == 0 ? scale_ : scale_.prod()).to(at::kFloat));
}

std::vector<at::Tensor> ScaleGate::factors(at::ScalarType type) const {
  if (scale_.dim() == 0) return {scale_.to(type)};
  const at::Tensor fine = scale_[0];
  const at::Tensor coarse = scale_[1];
  if (type == at::kDouble) return {coarse, fine};
  // Digits that a float32 would not have below its smallest normal number are
  // kept by a power of two apart.
  constexpr double kShare = 0x1p-100;
  const at::Tensor product = fine.mul(coarse);
  const at::Tensor small = product.abs().lt(std::numeric_limits<float>::min());
  const at::Tensor one = at::full({}, 1.0, product.options());
  const at::Tensor share = at::where(small, one.mul(kShare), one);
  return {share.to(type), product.div(share).to(type)};
}

at::Tensor ScaleGate::choose(
    const at::Tensor& like, double value, double idle) const {
  const at::TensorOptions options = like.options();
  return at::where(
      finite_, at::full({}, value, options), at::full({}, idle, options));
}

std::vector<at::Tensor> ScaleGate::gradients(
    const std::vector<at::Tensor>& grads,
    bool negated,
    at::ScalarType type) const {
  std::vector<at::Tensor> result = in_type(grads, type);
  if (!scale_.defined()) {
    return negated ? at::_foreach_neg(result) : result;
  }
  // The factor is 0 where it is not finite; but Inf * 0 is NaN.
  const at::Tensor zero = at::zeros({}, result.front().options());
  for (at::Tensor& grad : result) grad = at::where(finite_, grad, zero);
  double sign = negated ? -1.0 : 1.0;
  for (const at::Tensor& factor : factors(type)) {
    multiply_each_(result, at::where(finite_, factor, zero).mul(sign));
    sign = 1.0;
  }
  return result;
}

std::vector<at::Tensor> ScaleGate::for_fused(
    const std::vector<at::Tensor>& grads) const {
  if (!scale_.defined()) return grads;
  const std::vector<at::Tensor> all = factors(grads.front().scalar_type());
  std::vector<at::Tensor> result = multiply_each(grads, all.front());
  if (all.size() > 1) multiply_each_(result, all.back());
  return result;
}

std::vector<at::Tensor> ScaleGate::times(
    const std::vector<at::Tensor>& list, double factor, double idle) const {
  if (!scale_.defined()) return at::_foreach_mul(list, factor);
  return multiply_each(list, choose(list.front(), factor, idle));
}

void ScaleGate::multiply(
    const std::vector<at::Tensor>& list, double factor, double idle) const {
  if (!scale_.defined()) {
    if (factor != 1.0) at::_foreach_mul_(list, factor);
  } else if (factor != 1.0 || idle != 1.0) {
    multiply_each_(list, choose(list.front(), factor, idle));
  }
}

void ScaleGate::add(
    const std::vector<at::Tensor>& list, double term, double idle) const {
  if (!scale_.defined()) {
    at::_foreach_add_(list, term);
  } else {
    add_each_(list, choose(list.front(), term, idle));
  }
}

void ScaleGate::copy(
    const std::vector<at::Tensor>& to,
    const std::vector<at::Tensor>& from) const {
  if (!scale_.defined()) {
    copy_each_(to, from);
    return;
  }
  for (size_t i = 0; i < to.size(); ++i) {
    to[i].copy_(at::where(finite_, from[i], to[i]));
  }
}

at::Tensor ScaleGate::found_inf() const {
  if (!scale_.defined()) return {};
  return finite_.logical_not().to(at::kFloat);
}

}  // namespace stepsize::detail
