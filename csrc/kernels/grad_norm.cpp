#include <stepsize/kernels/grad_norm.h>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/scalar_tensor.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "csrc/kernels/aten_norm.h"
#include "csrc/kernels/cpu_norm.h"
#include "csrc/kernels/operands.h"

namespace stepsize {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

at::Tensor cpu_scalar(double value) {
  return at::scalar_tensor(
      value, at::TensorOptions(at::kDouble).device(at::kCPU));
}

/// The values that a tensor contributes; throws where it has none for us.
at::Tensor checked_values(const at::Tensor& tensor, size_t index) {
  const at::Tensor values =
      tensor.layout() == at::kSparse ? tensor.coalesce().values() : tensor;
  TORCH_CHECK(
      values.layout() == at::kStrided,
      "global_norm: tensor ",
      index,
      " must be dense or sparse COO, got layout ",
      values.layout());
  TORCH_CHECK(
      detail::element_type(values.scalar_type()) != detail::kFormatCount,
      "global_norm: tensor ",
      index,
      " must be float32, float64, bfloat16 or float16, got ",
      values.scalar_type());
  return detail::written_out(values);
}

/// Tensors of one device.
struct OnDevice {
  at::Device device;
  std::vector<at::Tensor> tensors;
};

/// The tensors by device; a device's list is empty where its tensors are.
std::vector<OnDevice> by_device(at::TensorList tensors) {
  std::vector<OnDevice> devices;
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!tensors[i].defined()) continue;
    at::Tensor values = checked_values(tensors[i], i);
    auto found = devices.begin();
    while (found != devices.end() && found->device != values.device()) ++found;
    if (found == devices.end()) {
      devices.push_back({values.device(), {}});
      found = devices.end() - 1;
      found->tensors.reserve(tensors.size() - i);
    }
    if (values.numel() > 0) found->tensors.push_back(std::move(values));
  }
  return devices;
}

at::Tensor cpu_parts(double first, double second) {
  at::Tensor parts =
      at::empty({2}, at::TensorOptions(at::kDouble).device(at::kCPU));
  double* data = parts.data_ptr<double>();
  data[0] = first;
  data[1] = second;
  return parts;
}

double coefficient_of(double norm, double max_norm) {
  return !std::isfinite(norm) ? kNaN : norm <= max_norm ? 1.0 : max_norm / norm;
}

/// max_norm / norm where norm > max_norm, in two factors.
at::Tensor coefficient_in_parts(const detail::WideNorm& norm, double max_norm) {
  constexpr double kSmallest = std::numeric_limits<double>::min();
  constexpr int kMostHalvings = 1000;
  if (!std::isfinite(norm.fraction)) return cpu_parts(kNaN, 1.0);
  const double value = norm.value();
  if (value <= max_norm) return cpu_parts(1.0, 1.0);
  const double coefficient = max_norm / value;
  if (std::isfinite(value) && value >= kSmallest && coefficient >= kSmallest) {
    return cpu_parts(coefficient, 1.0);
  }
  // By digits and exponents: the quotient itself is no normal number, or the
  // norm is none.
  const int upper = std::ilogb(max_norm);
  const int lower = std::ilogb(norm.fraction);
  const double digits =
      std::scalbn(max_norm, -upper) / std::scalbn(norm.fraction, -lower);
  const int exponent = upper - lower - std::ilogb(norm.unit);
  const int halvings = std::clamp(-exponent, 0, kMostHalvings);
  return cpu_parts(
      std::scalbn(digits, exponent + halvings), std::ldexp(1.0, -halvings));
}

}  // namespace

at::Tensor global_norm(at::TensorList tensors, NormType type) {
  const at::NoGradGuard no_grad;
  const std::vector<OnDevice> devices = by_device(tensors);
  if (devices.empty()) return cpu_scalar(0.0);
  std::vector<at::Tensor> norms;
  for (const OnDevice& on : devices) {
    norms.push_back(
        on.device.is_cpu()
            ? cpu_scalar(detail::cpu_norm(on.tensors, type).value())
            : detail::aten_norm(on.tensors, type, on.device));
  }
  if (norms.size() == 1) return norms[0];
  return detail::combined_norm(norms, type, devices[0].device);
}

at::Tensor norm_in_parts(at::TensorList tensors, NormType type) {
  const at::NoGradGuard no_grad;
  const std::vector<OnDevice> devices = by_device(tensors);
  if (devices.empty()) return cpu_parts(0.0, 1.0);
  std::vector<at::Tensor> norms;
  for (const OnDevice& on : devices) {
    if (on.device.is_cpu()) {
      const detail::WideNorm norm = detail::cpu_norm(on.tensors, type);
      norms.push_back(cpu_parts(norm.fraction, norm.unit));
    } else {
      norms.push_back(detail::aten_norm_in_parts(on.tensors, type, on.device));
    }
  }
  if (norms.size() == 1) return norms[0];
  return detail::combined_norm_in_parts(norms, type, devices[0].device);
}

namespace {

// On a CPU parts are of type float64, and two norms of groups seldom are.
bool may_be_parts(const at::Tensor& norm) {
  return norm.dim() == 1 && norm.numel() == 2 &&
         (!norm.is_cpu() || norm.scalar_type() == at::kDouble);
}

}  // namespace

at::Tensor clip_coefficient(const at::Tensor& norm, double max_norm) {
  TORCH_CHECK(
      norm.defined() && at::isFloatingType(norm.scalar_type()) &&
          (norm.dim() == 0 || may_be_parts(norm)),
      "clip_coefficient: norm must be a 0-dim tensor of a floating type, or "
      "the two parts of norm_in_parts()");
  TORCH_CHECK(
      max_norm > 0.0, "clip_coefficient: max_norm must be > 0, got ", max_norm);
  const at::NoGradGuard no_grad;
  const bool in_parts = norm.dim() == 1;
  if (!norm.is_cpu()) {
    return in_parts ? detail::aten_coefficient_in_parts(norm, max_norm)
                    : detail::aten_clip_coefficient(norm, max_norm);
  }
  if (in_parts) {
    const detail::WideNorm wide = {
        norm[0].item().toDouble(), norm[1].item().toDouble()};
    return coefficient_in_parts(wide, max_norm).to(norm.scalar_type());
  }
  return at::full(
      {}, coefficient_of(norm.item().toDouble(), max_norm), norm.options());
}

}  // namespace stepsize
