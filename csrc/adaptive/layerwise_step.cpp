#include "csrc/adaptive/layerwise_step.h"

#include <stepsize/kernels/grad_norm.h>

#include <limits>

namespace stepsize::detail {

double ratio_of_norms(double weights, double divisor) {
  if (!std::isfinite(weights) || !std::isfinite(divisor)) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  return weights > 0 && divisor > 0 ? weights / divisor : 1.0;
}

bool is_safe_sum(double sum, at::ScalarType type) {
  // Squares of other types than float64 fit a double.
  constexpr double kSmallestSafeSum = 0x1p-960;
  return type != at::kDouble || (std::isfinite(sum) && sum >= kSmallestSafeSum);
}

double norm_by_sum(double sum, const at::Tensor& tensor) {
  if (is_safe_sum(sum, tensor.scalar_type())) return std::sqrt(sum);
  return global_norm(tensor).item<double>();
}

}  // namespace stepsize::detail
