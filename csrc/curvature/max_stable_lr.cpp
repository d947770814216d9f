#include <stepsize/curvature/max_stable_lr.h>

#include <cmath>

#include "csrc/core/check.h"

namespace stepsize {

double max_stable_lr(double lambda, double momentum, bool nesterov) {
  constexpr char kName[] = "max_stable_lr";
  detail::check_option(
      std::isfinite(lambda) && lambda >= 0,
      kName,
      "lambda",
      "finite and >= 0",
      lambda);
  detail::check_option(
      momentum >= 0 && momentum < 1, kName, "momentum", "in [0, 1)", momentum);
  const double plain = (2 + 2 * momentum) / lambda;
  return nesterov ? plain / (1 + 2 * momentum) : plain;
}

}  // namespace stepsize
