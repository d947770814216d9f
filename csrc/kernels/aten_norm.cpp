#include "csrc/kernels/aten_norm.h"

#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>

#include "csrc/kernels/aten_ops.h"

namespace stepsize::detail {
namespace {

at::ScalarType norm_type_of(at::Device device) {
  return device.is_mps() ? at::kFloat : at::kDouble;
}

}  // namespace

at::Tensor aten_norm(
    const std::vector<at::Tensor>& tensors, NormType type, at::Device device) {
  const at::ScalarType result = norm_type_of(device);
  if (tensors.empty()) {
    return at::zeros({}, at::TensorOptions(result).device(device));
  }
  return combined_norm(norm_each(tensors, type, result), type, device);
}

at::Tensor combined_norm(
    const std::vector<at::Tensor>& norms, NormType type, at::Device device) {
  // A host that does not wait for a copy to itself reads what was there before.
  const bool non_blocking = !device.is_cpu();
  std::vector<at::Tensor> parts;
  parts.reserve(norms.size());
  for (const at::Tensor& norm : norms) {
    parts.push_back(norm.to(
        at::TensorOptions(norm_type_of(device)).device(device), non_blocking));
  }
  const at::Tensor all = at::stack(parts);
  const at::Tensor largest = all.max();
  if (type == NormType::kInfinity) return largest;
  const at::Tensor usable = at::isfinite(largest).logical_and(largest.gt(0.0));
  const at::Tensor scale =
      at::where(usable, largest, at::full({}, 1.0, largest.options()));
  return at::linalg_vector_norm(all.div(scale), 2.0).mul(scale);
}

at::Tensor aten_clip_coefficient(const at::Tensor& norm, double max_norm) {
  const at::TensorOptions options = norm.options();
  const at::Tensor one = at::full({}, 1.0, options);
  const at::Tensor nan =
      at::full({}, std::numeric_limits<double>::quiet_NaN(), options);
  // Inf / Inf is NaN, but such a max_norm clips nothing.
  const at::Tensor clipped =
      std::isinf(max_norm)
          ? one
          : at::full({}, max_norm, options).div(norm.clamp_min(max_norm));
  return at::where(at::isfinite(norm), clipped, nan);
}

}  // namespace stepsize::detail
