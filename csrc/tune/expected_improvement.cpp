#include "csrc/tune/expected_improvement.h"

#include <ATen/Functions.h>
#include <ATen/TensorOperators.h>
#include <c10/core/GradMode.h>

#include <cmath>

namespace stepsize::detail {
namespace {

constexpr double kHalfLog2Pi = 0.91893853320467274;
constexpr double kSqrtHalf = 0.70710678118654752;
constexpr double kSqrtHalfPi = 1.2533141373155003;

}  // namespace

at::Tensor log_expected_improvement(
    const at::Tensor& means, const at::Tensor& deviations, double best) {
  const c10::AutoGradMode no_grad(false);
  const at::Tensor z = (best - means) / deviations;
  // phi + z Phi as it stands loses digits as its terms cancel.
  const at::Tensor density = (-z.square() / 2 - kHalfLog2Pi).exp();
  const at::Tensor above =
      (density + z * at::special_erfc(-z * kSqrtHalf) / 2).log();
  // phi (1 - |z| Phi(z) / phi(z)), the quotient as a scaled function.
  const at::Tensor depth = z.neg().clamp_min(0);
  const at::Tensor quotient =
      depth * kSqrtHalfPi * at::special_erfcx(depth * kSqrtHalf);
  at::Tensor share = at::log1p(-quotient);
  // Of 1 - quotient only 1 / z^2 - 3 / z^4 is left: below, its rounding.
  const at::Tensor squared = depth.square();
  share =
      at::where(depth > 300, at::log1p(-3 / squared) - squared.log(), share);
  const at::Tensor below = share - squared / 2 - kHalfLog2Pi;
  return at::where(z > -1, above, below) + deviations.log();
}

}  // namespace stepsize::detail
