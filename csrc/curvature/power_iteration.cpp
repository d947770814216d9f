#include <stepsize/curvature/power_iteration.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "csrc/core/check.h"
#include "csrc/curvature/vector_math.h"

namespace stepsize {
namespace {

void check_options(const char* function, const PowerIterationOptions& options) {
  detail::check_option(
      options.max_iterations() >= 1,
      function,
      "max_iterations",
      ">= 1",
      options.max_iterations());
  detail::check_option(
      std::isfinite(options.tolerance()) && options.tolerance() >= 0,
      function,
      "tolerance",
      "finite and >= 0",
      options.tolerance());
}

// Where a product is not finite the estimate is none.
void spoil(PowerIterationResult& result) {
  constexpr double none = std::numeric_limits<double>::quiet_NaN();
  result.value = none;
  result.magnitude = none;
  result.residual = none;
  result.status = CurvatureStatus::kNotFinite;
}

// What the result says of A where the operator was A + shift I. The residual is
// the part of Av across v, and the same for both.
void take_off(PowerIterationResult& result, double shift) {
  if (shift == 0) return;
  result.value -= shift;
  result.magnitude = std::hypot(result.value, result.residual);
}

// Whether the residual is small beside the eigenvalue of A, or as small as
// rounding in the shifted product lets it be.
bool is_converged(
    PowerIterationResult result,
    double shift,
    double tolerance,
    double epsilon) {
  take_off(result, shift);
  const double size = std::max(std::abs(result.value), result.magnitude);
  const double rounding = tolerance > 0 ? epsilon * shift : 0;
  return result.residual <= std::max(tolerance * size, rounding);
}

PowerIterationResult iterate(
    const char* function,
    const LinearOperator& op,
    const PowerIterationOptions& options,
    const AgreeOnNumbers& agree,
    double shift = 0) {
  const double epsilon = detail::machine_epsilon(op.like());
  PowerIterationResult result;
  result.vector = detail::unit_start(
      function, op.like(), options.initial(), options.generator());
  while (result.iterations < options.max_iterations()) {
    const TensorVector& v = result.vector;
    const TensorVector product = op.apply(v);
    ++result.iterations;
    const at::Tensor value = detail::dot(v, product);
    const TensorVector rest = detail::plus_scaled(product, value.neg(), v);
    const std::vector<double> scalars = detail::to_host(
        {value, detail::dot(product, product), detail::dot(rest, rest)});
    std::vector<double> numbers{
        scalars[0],
        detail::norm(product, scalars[1]),
        detail::norm(rest, scalars[2])};
    if (agree) agree(numbers);
    result.value = numbers[0];
    result.magnitude = numbers[1];
    result.residual = numbers[2];
    if (!std::isfinite(result.magnitude)) {
      spoil(result);
      return result;
    }
    if (result.magnitude == 0) {
      result.status = CurvatureStatus::kZeroOperator;
      return result;
    }
    result.vector = detail::divided(product, result.magnitude);
    if (is_converged(result, shift, options.tolerance(), epsilon)) {
      result.status = CurvatureStatus::kConverged;
      return result;
    }
  }
  return result;
}

// op + shift I.
LinearOperator shifted(const LinearOperator& op, double shift) {
  return function_operator(op.like(), [op, shift](const TensorVector& v) {
    TensorVector result = op.apply(v);
    for (std::size_t i = 0; i < v.size(); ++i) {
      result[i] = result[i].add(v[i], shift);
    }
    return result;
  });
}

}  // namespace

PowerIterationResult power_iteration(
    const LinearOperator& op,
    const PowerIterationOptions& options,
    const AgreeOnNumbers& agree) {
  check_options("power_iteration", options);
  return iterate("power_iteration", op, options, agree);
}

PowerIterationResult largest_eigenvalue(
    const LinearOperator& op,
    const PowerIterationOptions& options,
    const AgreeOnNumbers& agree) {
  constexpr char kName[] = "largest_eigenvalue";
  check_options(kName, options);
  const PowerIterationResult first = iterate(kName, op, options, agree);
  const bool converged = first.status == CurvatureStatus::kConverged;
  if (first.status == CurvatureStatus::kNotFinite ||
      first.status == CurvatureStatus::kZeroOperator ||
      (converged && first.value > 0)) {
    return first;
  }
  // The eigenvector of a negative eigenvalue is no start for the largest; a
  // mixture that has not converged is a good one.
  const TensorVector start = converged ? TensorVector() : first.vector;
  PowerIterationResult second = iterate(
      kName,
      shifted(op, first.magnitude),
      PowerIterationOptions(options).initial(start),
      agree,
      first.magnitude);
  second.iterations += first.iterations;
  take_off(second, first.magnitude);
  // A multiple of the identity: the shift has cancelled all of it.
  if (second.status == CurvatureStatus::kZeroOperator) {
    second.status = CurvatureStatus::kConverged;
  }
  return second;
}

}  // namespace stepsize
