#include <ATen/ops/zeros_like.h>
#include <stepsize/curvature/hutchinson.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "csrc/core/check.h"
#include "csrc/curvature/vector_math.h"

namespace stepsize {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// A standard error of fewer samples says too little to stop at.
constexpr int64_t kLeastSamples = 10;

void check_options(const char* function, const HutchinsonOptions& options) {
  detail::check_option(
      options.samples() >= 2, function, "samples", ">= 2", options.samples());
  detail::check_option(
      std::isfinite(options.tolerance()) && options.tolerance() >= 0,
      function,
      "tolerance",
      "finite and >= 0",
      options.tolerance());
}

bool is_precise(
    const HutchinsonOptions& options,
    int64_t samples,
    double standard_error,
    double value) {
  return options.tolerance() > 0 &&
         samples >= std::min(kLeastSamples, options.samples()) &&
         standard_error <= options.tolerance() * std::abs(value);
}

CurvatureStatus final_status(
    const HutchinsonOptions& options, bool precise, bool zero) {
  if (zero) return CurvatureStatus::kZeroOperator;
  if (precise || options.tolerance() == 0) return CurvatureStatus::kConverged;
  return CurvatureStatus::kMaxIterations;
}

TensorVector wide_zeros(const TensorVector& like) {
  TensorVector zeros;
  zeros.reserve(like.size());
  for (const at::Tensor& part : like) {
    zeros.push_back(at::zeros_like(part).to(
        part.scalar_type() == at::kDouble ? at::kDouble : at::kFloat));
  }
  return zeros;
}

}  // namespace

TraceResult hutchinson_trace(
    const LinearOperator& op, const HutchinsonOptions& options) {
  check_options("hutchinson_trace", options);
  TraceResult result;
  double squares = 0;  // sum of squared deviations from the running mean
  bool zero = true;
  bool precise = false;
  while (result.iterations < options.samples() && !precise) {
    const TensorVector z =
        detail::draw(op.like(), options.distribution(), options.generator());
    const TensorVector product = op.apply(z);
    const std::vector<double> scalars = detail::to_host(
        {detail::dot(z, product), detail::dot(product, product)});
    const double n = static_cast<double>(++result.iterations);
    const double length = detail::norm(product, scalars[1]);
    if (!std::isfinite(scalars[0]) || !std::isfinite(length)) {
      result.value = kNaN;
      result.standard_error = kNaN;
      result.status = CurvatureStatus::kNotFinite;
      return result;
    }
    zero = zero && length == 0;
    const double deviation = scalars[0] - result.value;
    result.value += deviation / n;
    squares += deviation * (scalars[0] - result.value);
    if (n > 1) result.standard_error = std::sqrt(squares / (n - 1) / n);
    precise = is_precise(
        options, result.iterations, result.standard_error, result.value);
  }
  result.status = final_status(options, precise, zero);
  return result;
}

DiagonalResult hutchinson_diagonal(
    const LinearOperator& op, const HutchinsonOptions& options) {
  check_options("hutchinson_diagonal", options);
  DiagonalResult result;
  result.value = wide_zeros(op.like());
  TensorVector squares = wide_zeros(op.like());
  bool zero = true;
  bool precise = false;
  while (result.iterations < options.samples() && !precise) {
    const TensorVector z =
        detail::draw(op.like(), options.distribution(), options.generator());
    const TensorVector product = op.apply(z);
    const double n = static_cast<double>(++result.iterations);
    for (std::size_t i = 0; i < z.size(); ++i) {
      const at::Tensor sample = z[i].mul(product[i]);
      const at::Tensor deviation = sample.sub(result.value[i]);
      result.value[i].add_(deviation, 1 / n);
      squares[i].addcmul_(deviation, sample.sub(result.value[i]));
    }
    // The sums of the squared deviations are those of the squared errors but
    // for n (n - 1).
    at::Tensor spread;
    for (const at::Tensor& part : squares) {
      const at::Tensor sum = part.sum(at::kDouble).to(squares.front().device());
      spread = spread.defined() ? spread.add(sum) : sum;
    }
    const std::vector<double> scalars = detail::to_host(
        {detail::dot(product, product),
         detail::dot(result.value, result.value),
         spread});
    const double length = detail::norm(product, scalars[0]);
    if (!std::isfinite(length)) {
      for (const at::Tensor& part : result.value) part.fill_(kNaN);
      result.status = CurvatureStatus::kNotFinite;
      break;
    }
    zero = zero && length == 0;
    precise = n > 1 && is_precise(
                           options,
                           result.iterations,
                           std::sqrt(scalars[2] / (n - 1) / n),
                           detail::norm(result.value, scalars[1]));
  }
  const double n = static_cast<double>(result.iterations);
  const bool broken = result.status == CurvatureStatus::kNotFinite;
  for (const at::Tensor& part : squares) {
    if (broken) {
      part.fill_(kNaN);
    } else {
      part.div_((n - 1) * n).sqrt_();
    }
  }
  result.standard_error = std::move(squares);
  if (!broken) result.status = final_status(options, precise, zero);
  return result;
}

}  // namespace stepsize
