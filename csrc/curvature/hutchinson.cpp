#include <ATen/ops/zeros_like.h>
#include <stepsize/curvature/hutchinson.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "csrc/core/check.h"
#include "csrc/curvature/vector_math.h"
#include "csrc/state/random_state.h"

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

// Random vectors and their products. Where the operator shares work among
// products, several are made at once, but none that the tolerance may spare:
// numbers and random state are those of one after the other. Where the rest of
// a block is not asked for, as a product was not finite, the generators go back
// to the last vector that was; where a block throws, to its first, as what
// products share is computed with that.
class Samples {
 public:
  struct Sample {
    TensorVector z;
    TensorVector product;
  };

  Samples(const LinearOperator& op, const HutchinsonOptions& options)
      : op_(op), options_(options) {}
  ~Samples() {
    if (random_state_) random_state_->restore();
  }
  Samples(const Samples&) = delete;
  Samples& operator=(const Samples&) = delete;

  Sample next() {
    if (waiting_.empty()) make();
    Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    random_state_ = std::move(next.random_state);
    return std::move(next.sample);
  }

 private:
  struct Waiting {
    Sample sample;
    // After its vector was drawn; none where that is the state there is.
    std::optional<detail::RandomState> random_state;
  };

  // Four vectors at once save three quarters of what is shared. They need eight
  // vectors of memory, twelve where a sum adds the products of its terms or a
  // preconditioner has scaled the vectors, sixteen where both do.
  static constexpr int64_t kBlock = 4;

  void make() {
    const int64_t certain = options_.tolerance() > 0
                                ? std::min(kLeastSamples, options_.samples())
                                : options_.samples();
    const int64_t count =
        op_.shares_work()
            ? std::clamp(certain - drawn_, int64_t{1}, int64_t{kBlock})
            : 1;
    std::vector<TensorVector> vectors;
    std::vector<std::optional<detail::RandomState>> states;
    for (int64_t i = 0; i < count; ++i) {
      vectors.push_back(detail::draw(
          op_.like(), options_.distribution(), options_.generator()));
      states.emplace_back();
      if (i + 1 < count) states.back().emplace(generators());
      if (i == 0) random_state_ = states.front();
    }
    std::vector<TensorVector> products = op_.apply_block(vectors);
    for (std::size_t i = 0; i < vectors.size(); ++i) {
      waiting_.push_back(
          {{std::move(vectors[i]), std::move(products[i])},
           std::move(states[i])});
    }
    drawn_ += count;
  }

  std::vector<at::Generator> generators() const {
    if (options_.generator().defined()) return {options_.generator()};
    return detail::generators_of(op_.like());
  }

  const LinearOperator& op_;
  const HutchinsonOptions& options_;
  std::deque<Waiting> waiting_;
  // What the random state becomes where no more samples are asked for.
  std::optional<detail::RandomState> random_state_;
  int64_t drawn_ = 0;
};

}  // namespace

TraceResult hutchinson_trace(
    const LinearOperator& op, const HutchinsonOptions& options) {
  check_options("hutchinson_trace", options);
  TraceResult result;
  double squares = 0;  // sum of squared deviations from the running mean
  bool zero = true;
  bool precise = false;
  Samples samples(op, options);
  while (result.iterations < options.samples() && !precise) {
    const auto [z, product] = samples.next();
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
  Samples samples(op, options);
  while (result.iterations < options.samples() && !precise) {
    const auto [z, product] = samples.next();
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
