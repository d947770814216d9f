#pragma once

#include <ATen/core/Generator.h>
#include <stepsize/curvature/curvature_status.h>
#include <stepsize/curvature/linear_operator.h>
#include <torch/arg.h>

#include <cstdint>
#include <functional>
#include <vector>

namespace stepsize {

/// Options of power_iteration and largest_eigenvalue.
class PowerIterationOptions {
 public:
  /// Products at most; >= 1.
  TORCH_ARG(int64_t, max_iterations) = 100;
  /// Stops when residual <= tolerance * magnitude; finite and >= 0. The error
  /// of the value is about the square of that (Parlett, The Symmetric
  /// Eigenvalue Problem, section 4.6). With 0 all iterations run, but where the
  /// residual is exactly zero.
  TORCH_ARG(double, tolerance) = 1e-2;
  /// Where to start, the vector of an earlier result for one; finite and not
  /// zero, of any length. Empty: Gaussian.
  TORCH_ARG(TensorVector, initial);
  /// Draws the start; undefined: the default generator of each device.
  TORCH_ARG(at::Generator, generator);
};

/// What power_iteration or largest_eigenvalue found.
struct PowerIterationResult {
  /// The Rayleigh quotient v'Av, with its sign.
  double value = 0.0;
  /// |Av|: at most the largest |eigenvalue|, and never below |value|. That of
  /// power_iteration tends to the largest even where two eigenvalues differ in
  /// sign only; that of largest_eigenvalue to the |value| it looks for.
  double magnitude = 0.0;
  /// |Av - value v|: an eigenvalue lies within this of the value.
  double residual = 0.0;
  /// The next iterate Av / |Av|, of length 1: where to go on. After a zero
  /// or non-finite product, the vector v it was made with.
  TensorVector vector;
  /// Products made.
  int64_t iterations = 0;
  CurvatureStatus status = CurvatureStatus::kMaxIterations;
};

/// Changes numbers in place.
using AgreeOnNumbers = std::function<void(std::vector<double>& numbers)>;

/// The eigenvalue of largest magnitude, by v <- Av / |Av|. The error of
/// the value shrinks by (lambda_2 / lambda_1)^2 an iteration, that of the
/// vector by its root. One product, two inner products and one synchronisation
/// with the host an iteration; memory of three vectors.
///
/// kZeroOperator: Av is exactly zero, and so is the value. From a Gaussian
/// start that means a zero operator; from a start of yours it may just lie in
/// the null space.
///
/// Throws c10::Error where an option is out of its range.
///
/// `agree` is for computers that make the same iteration together: it is called
/// once an iteration with the numbers by which that decides, and puts the same
/// ones on all, as their own may differ in the last bit.
PowerIterationResult power_iteration(
    const LinearOperator& op,
    const PowerIterationOptions& options = {},
    const AgreeOnNumbers& agree = {});

/// The largest eigenvalue, sign and all: also where a negative one is larger in
/// magnitude. A power iteration on A; unless that has converged to a positive
/// value, a second one on A + m I, m the first one's magnitude, whose
/// eigenvalues are hardly negative. `value` and `residual` are those of A, to
/// which the tolerance is relative, or the machine epsilon times m where that
/// is more; so is `magnitude`, |Av|. Iterations count both runs, each of which
/// may take max_iterations: many where m is far above the eigenvalue, and
/// lanczos takes the root of that.
///
/// A negative value means that A has no positive eigenvalue: downhill the loss
/// bends away everywhere, and max_stable_lr(max(value, 0)) sets no limit.
PowerIterationResult largest_eigenvalue(
    const LinearOperator& op,
    const PowerIterationOptions& options = {},
    const AgreeOnNumbers& agree = {});

}  // namespace stepsize
