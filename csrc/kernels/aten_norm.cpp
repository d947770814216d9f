#include "csrc/kernels/aten_norm.h"

#include <ATen/ops/full.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "csrc/kernels/aten_ops.h"

namespace stepsize::detail {
namespace {

at::ScalarType norm_type_of(at::Device device) {
  return device.is_mps() ? at::kFloat : at::kDouble;
}

// A power of two near a norm, in [2^-1000, 2^1000]; 1 where it is none or 0.
at::Tensor unit_of(const at::Tensor& norm) {
  const at::Tensor one = at::full({}, 1.0, norm.options());
  const at::Tensor usable = at::isfinite(norm).logical_and(norm.gt(0.0));
  return at::where(usable, norm, one)
      .log2()
      .floor()
      .clamp(-1000.0, 1000.0)
      .exp2();
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

at::Tensor aten_norm_in_parts(
    const std::vector<at::Tensor>& tensors, NormType type, at::Device device) {
  const bool wide =
      type == NormType::kTwo &&
      std::any_of(tensors.begin(), tensors.end(), [](const at::Tensor& tensor) {
        return tensor.scalar_type() == at::kDouble;
      });
  if (!wide) {
    const at::Tensor norm = aten_norm(tensors, type, device);
    return at::stack({norm, at::full({}, 1.0, norm.options())});
  }
  const at::Tensor unit =
      unit_of(aten_norm(tensors, NormType::kInfinity, device));
  const at::Tensor inverse = unit.reciprocal();
  std::vector<at::Tensor> scaled;
  scaled.reserve(tensors.size());
  for (const at::Tensor& tensor : tensors) {
    scaled.push_back(tensor.to(at::kDouble).mul(inverse));
  }
  return at::stack({aten_norm(scaled, type, device), unit});
}

at::Tensor combined_norm_in_parts(
    const std::vector<at::Tensor>& norms, NormType type, at::Device device) {
  const bool non_blocking = !device.is_cpu();
  std::vector<at::Tensor> parts;
  parts.reserve(norms.size());
  for (const at::Tensor& norm : norms) {
    parts.push_back(norm.to(
        at::TensorOptions(norm_type_of(device)).device(device), non_blocking));
  }
  const at::Tensor all = at::stack(parts);
  const at::Tensor units = all.select(1, 1);
  const at::Tensor unit = units.max();
  // What a smaller unit loses here is too small to count.
  const at::Tensor fractions = all.select(1, 0).mul(units.div(unit));
  std::vector<at::Tensor> each;
  for (size_t i = 0; i < norms.size(); ++i) {
    each.push_back(fractions[static_cast<int64_t>(i)]);
  }
  return at::stack({combined_norm(each, type, device), unit});
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

at::Tensor aten_coefficient_in_parts(const at::Tensor& norm, double max_norm) {
  const at::TensorOptions options = norm.options();
  const at::Tensor one = at::full({}, 1.0, options);
  const at::Tensor nan =
      at::full({}, std::numeric_limits<double>::quiet_NaN(), options);
  const at::Tensor fraction = norm[0];
  const at::Tensor unit = norm[1];
  const at::Tensor clips = fraction.mul(unit).gt(max_norm);
  const at::Tensor rest = at::full({}, max_norm, options).div(fraction);
  return at::stack(
      {at::where(at::isfinite(fraction), at::where(clips, rest, one), nan),
       at::where(clips, unit.reciprocal(), one)});
}

}  // namespace stepsize::detail
