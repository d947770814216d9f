#pragma once

#include <cstdint>
#include <limits>
#include <optional>

namespace stepsize {

/// What CurvatureMonitor found at one point of a run. Numbers that were
/// measured and are not finite are NaN; those that were not measured are not
/// there.
struct CurvatureMeasurement {
  /// Updates made so far.
  int64_t update = 0;
  /// The rate of the last of them; of several groups the largest one.
  double lr = 0;
  /// |H v|, H the Hessian: it tends to the largest |eigenvalue|.
  double sharpness = std::numeric_limits<double>::quiet_NaN();
  /// The same of the matrix that the rate meets, D H D: D has the root of a
  /// preconditioner and of the groups' rates, as shares of the largest; coupled
  /// weight decay adds to H. Equal to the sharpness where there is nothing of
  /// that.
  double effective_sharpness = std::numeric_limits<double>::quiet_NaN();
  /// lr * effective_sharpness,
  std::optional<double> lr_sharpness;
  /// and what it stays below where descent on a quadratic is stable.
  std::optional<double> limit;
  /// Hutchinson's estimate of the Hessian's trace, the sum of its eigenvalues,
  std::optional<double> trace;
  /// and its standard error.
  std::optional<double> trace_error;
};

}  // namespace stepsize
