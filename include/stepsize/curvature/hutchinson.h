#pragma once

#include <ATen/core/Generator.h>
#include <stepsize/curvature/curvature_status.h>
#include <stepsize/curvature/linear_operator.h>
#include <torch/arg.h>

#include <cstdint>

namespace stepsize {

/// The distribution of random vectors z with E[zz'] = I.
enum class ProbeDistribution : std::uint8_t {
  kRademacher,  ///< +1 or -1: the least variance
  kGaussian,
};

/// Options of hutchinson_trace and hutchinson_diagonal.
class HutchinsonOptions {
 public:
  /// Random vectors at most, a product each; >= 2.
  TORCH_ARG(int64_t, samples) = 100;
  /// Stops from the 10th sample on, or at the last, when standard_error <=
  /// tolerance * |value| (of the diagonal: both as Euclidean norms); finite and
  /// >= 0. With 0 all samples are drawn.
  TORCH_ARG(double, tolerance) = 0.0;
  TORCH_ARG(ProbeDistribution, distribution) = ProbeDistribution::kRademacher;
  /// Draws the vectors; undefined: the default generator of each device.
  TORCH_ARG(at::Generator, generator);
};

/// An estimate of the trace.
struct TraceResult {
  double value = 0.0;
  /// Standard deviation of the samples over the root of their number.
  double standard_error = 0.0;
  /// Random vectors drawn.
  int64_t iterations = 0;
  CurvatureStatus status = CurvatureStatus::kMaxIterations;
};

/// The trace as the mean of z'Az over random z. The variance of a sample is
/// 2 (|A|_F^2 - sum of squares of the diagonal) for Rademacher vectors, so that
/// a diagonal matrix takes one, and 2 |A|_F^2 for Gaussian ones (Hutchinson
/// 1990; Avron and Toledo 2011). Throws c10::Error where an option is out of
/// its range. A tolerance that the samples do not meet is kMaxIterations.
TraceResult hutchinson_trace(
    const LinearOperator& op, const HutchinsonOptions& options = {});

/// An estimate of the diagonal.
struct DiagonalResult {
  TensorVector value;
  /// Of each element, as above.
  TensorVector standard_error;
  /// Random vectors drawn.
  int64_t iterations = 0;
  CurvatureStatus status = CurvatureStatus::kMaxIterations;
};

/// The diagonal as the mean of z * Az, element by element, over random z. The
/// variance of element i is the sum of squares of row i off the diagonal for
/// Rademacher vectors (Bekas, Kokiopoulou and Saad 2007). Half-precision
/// parameters have a diagonal in float32.
DiagonalResult hutchinson_diagonal(
    const LinearOperator& op, const HutchinsonOptions& options = {});

}  // namespace stepsize
