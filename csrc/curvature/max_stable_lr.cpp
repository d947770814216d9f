#include <stepsize/curvature/max_stable_lr.h>

#include <cmath>

#include "csrc/core/check.h"

namespace stepsize {

double max_stable_lr(
    double lambda, double momentum, bool nesterov, MomentumLimit limit) {
  constexpr char kName[] = "max_stable_lr";
  detail::check_option(
      std::isfinite(lambda) && lambda >= 0,
      kName,
      "lambda",
      "finite and >= 0",
      lambda);
  detail::check_option(
      momentum >= 0 && momentum < 1, kName, "momentum", "in [0, 1)", momentum);
  check_momentum_limit(kName, limit);
  if (limit == MomentumLimit::kEffectiveRate) {
    return (2 - 2 * momentum) / lambda;
  }
  const double heavy_ball = (2 + 2 * momentum) / lambda;
  return nesterov ? heavy_ball / (1 + 2 * momentum) : heavy_ball;
}

void check_momentum_limit(const char* kind, MomentumLimit limit) {
  detail::check_option(
      limit == MomentumLimit::kEffectiveRate ||
          limit == MomentumLimit::kQuadratic,
      kind,
      "momentum_limit",
      "kEffectiveRate or kQuadratic",
      static_cast<int64_t>(limit));
}

}  // namespace stepsize
