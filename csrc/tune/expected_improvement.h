#pragma once

#include <ATen/core/Tensor.h>

namespace stepsize::detail {

/// The logarithm of the expected improvement on `best`, downwards, of normal
/// values with these means and deviations > 0, elementwise, in float64:
///
///   EI = E max(best - y, 0) = s (phi(z) + z Phi(z)),  z = (best - m) / s
///
/// (Jones, Schonlau, Welch 1998), finite far into the tail, where EI itself is
/// 0 in every type and no place is better than another (Ament et al.,
/// Unexpected improvements to expected improvement, 2023, equation 9).
at::Tensor log_expected_improvement(
    const at::Tensor& means, const at::Tensor& deviations, double best);

}  // namespace stepsize::detail
