#pragma once

#include <cstdint>

namespace stepsize {

/// How an estimate of curvature ended. Numbers are usable with every status
/// but kNotFinite; how good they are is what the error estimate beside them
/// says.
enum class CurvatureStatus : std::uint8_t {
  kConverged,          ///< the tolerance is met, or all that was asked is done
  kMaxIterations,      ///< the iterations ran out before the tolerance was met
  kInvariantSubspace,  ///< the Krylov space closed: exact up to the rounding
                       ///< of the largest eigenvalue
  kZeroOperator,       ///< the product was exactly zero
  kNotFinite,          ///< a product had a NaN or an infinity: values are NaN
};

/// The status in words: "converged", "max iterations", "invariant subspace",
/// "zero operator", "not finite".
const char* to_string(CurvatureStatus status);

}  // namespace stepsize
