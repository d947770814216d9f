#include <stepsize/kernels/grad_norm.h>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/full.h>
#include <ATen/ops/scalar_tensor.h>
#include <c10/util/Exception.h>

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

}  // namespace

at::Tensor global_norm(at::TensorList tensors, NormType type) {
  const at::NoGradGuard no_grad;
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
  if (devices.empty()) return cpu_scalar(0.0);
  std::vector<at::Tensor> norms;
  for (const OnDevice& on : devices) {
    norms.push_back(
        on.device.is_cpu() ? cpu_scalar(detail::cpu_norm(on.tensors, type))
                           : detail::aten_norm(on.tensors, type, on.device));
  }
  if (norms.size() == 1) return norms[0];
  return detail::combined_norm(norms, type, devices[0].device);
}

at::Tensor clip_coefficient(const at::Tensor& norm, double max_norm) {
  TORCH_CHECK(
      norm.defined() && norm.dim() == 0 &&
          at::isFloatingType(norm.scalar_type()),
      "clip_coefficient: norm must be a 0-dim tensor of a floating type");
  TORCH_CHECK(
      max_norm > 0.0, "clip_coefficient: max_norm must be > 0, got ", max_norm);
  const at::NoGradGuard no_grad;
  if (norm.is_cpu()) {
    const double value = norm.item().toDouble();
    const double coefficient = !std::isfinite(value) ? kNaN
                               : value <= max_norm   ? 1.0
                                                     : max_norm / value;
    return at::full({}, coefficient, norm.options());
  }
  return detail::aten_clip_coefficient(norm, max_norm);
}

}  // namespace stepsize
