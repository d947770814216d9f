#pragma once

#include <ATen/core/Generator.h>
#include <stepsize/curvature/curvature_status.h>
#include <stepsize/curvature/linear_operator.h>
#include <torch/arg.h>

#include <cstdint>
#include <vector>

namespace stepsize {

/// Which eigenvalues lanczos looks for.
enum class LanczosTarget : std::uint8_t {
  kLargest,           ///< the algebraically largest, descending
  kSmallest,          ///< the algebraically smallest, ascending
  kLargestMagnitude,  ///< those of largest magnitude, the largest first
};

/// Options of lanczos.
class LanczosOptions {
 public:
  /// Eigenvalues wanted; >= 1. No more than dimension() are found.
  TORCH_ARG(int64_t, k) = 1;
  TORCH_ARG(LanczosTarget, target) = LanczosTarget::kLargest;
  /// Products at most, and vectors kept at most; >= k.
  TORCH_ARG(int64_t, max_iterations) = 100;
  /// Stops when all k residuals are <= tolerance * largest |Ritz value|;
  /// finite and >= 0. With 0 it runs on until the space is exhausted.
  TORCH_ARG(double, tolerance) = 1e-3;
  /// Whether eigenvectors are wanted: memory of k vectors more.
  TORCH_ARG(bool, vectors) = true;
  /// Where to start; finite and not zero. Empty: Gaussian.
  TORCH_ARG(TensorVector, initial);
  /// Draws the start; undefined: the default generator of each device.
  TORCH_ARG(at::Generator, generator);
};

/// What lanczos found: k eigenvalues, or as many as there are.
struct LanczosResult {
  /// Ritz values, ordered as LanczosTarget says.
  std::vector<double> values;
  /// For each an upper bound of |Ax - value x|, up to rounding (about e times
  /// the largest |eigenvalue|, e the machine epsilon): an eigenvalue lies
  /// within this of the value.
  std::vector<double> residuals;
  /// For each the Ritz vector x, of length 1; empty if not asked for.
  std::vector<TensorVector> vectors;
  /// Products made.
  int64_t iterations = 0;
  CurvatureStatus status = CurvatureStatus::kMaxIterations;
};

/// Eigenvalues at the ends of the spectrum, by Lanczos with full
/// reorthogonalisation, twice a step (Parlett, The Symmetric Eigenvalue
/// Problem, chapter 13): no ghost copies of eigenvalues. It needs far fewer
/// products than the power iteration, about its square root, but keeps
/// every vector: `iterations` times the memory of the parameters.
///
/// kInvariantSubspace: the Krylov space closed, that is its rest fell below
/// what rounding leaves, `iterations` times e times the largest entry: all
/// values are exact up to that. Where it happens before there are k values it
/// goes on from a new direction, so that the identity has k eigenvalues 1, and
/// what it leaves out there counts in the residuals. A rest just above that is
/// taken for a direction too: of a multiple eigenvalue with tolerance 0 more
/// than one copy may be found, else it is found once. kNotFinite: values and
/// residuals are k NaN.
///
/// Throws c10::Error where an option is out of its range.
LanczosResult lanczos(
    const LinearOperator& op, const LanczosOptions& options = {});

}  // namespace stepsize
