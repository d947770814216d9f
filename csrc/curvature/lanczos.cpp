#include <stepsize/curvature/lanczos.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>

#include "csrc/core/check.h"
#include "csrc/curvature/lanczos_process.h"
#include "csrc/curvature/vector_math.h"

namespace stepsize {
namespace {

constexpr char kLanczos[] = "lanczos";

void check_options(const LanczosOptions& options) {
  detail::check_option(options.k() >= 1, kLanczos, "k", ">= 1", options.k());
  detail::check_option(
      options.max_iterations() >= options.k(),
      kLanczos,
      "max_iterations",
      ">= k",
      options.max_iterations());
  detail::check_option(
      std::isfinite(options.tolerance()) && options.tolerance() >= 0,
      kLanczos,
      "tolerance",
      "finite and >= 0",
      options.tolerance());
}

// The Ritz pairs after some steps, the wanted ones first.
struct RitzPairs {
  const detail::LanczosProcess& process;
  detail::TridiagonalEigen eigen;
  std::vector<std::size_t> order;

  RitzPairs(const detail::LanczosProcess& of, LanczosTarget target)
      : process(of),
        eigen(process.alphas(), process.betas()),
        order(eigen.values.size()) {
    std::iota(order.begin(), order.end(), std::size_t{0});
    const std::vector<double>& values = eigen.values;
    std::stable_sort(
        order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
          switch (target) {
            case LanczosTarget::kLargest:
              return values[a] > values[b];
            case LanczosTarget::kSmallest:
              return values[a] < values[b];
            case LanczosTarget::kLargestMagnitude:
              break;
          }
          return std::abs(values[a]) > std::abs(values[b]);
        });
  }

  double value(std::size_t i) const { return eigen.values[order[i]]; }

  at::Tensor coordinates(std::size_t i) const {
    return eigen.vectors.select(1, static_cast<int64_t>(order[i]));
  }

  double residual(std::size_t i) const {
    return process.residual(coordinates(i));
  }

  double radius() const {
    return std::max(
        std::abs(eigen.values.front()), std::abs(eigen.values.back()));
  }

  bool are_converged(std::size_t count, double tolerance) const {
    if (order.size() < count) return false;
    for (std::size_t i = 0; i < count; ++i) {
      if (!(residual(i) <= tolerance * radius())) return false;
    }
    return true;
  }
};

}  // namespace

LanczosResult lanczos(const LinearOperator& op, const LanczosOptions& options) {
  using Step = detail::LanczosProcess::Step;
  check_options(options);
  const auto count =
      static_cast<std::size_t>(std::min(options.k(), op.dimension()));
  detail::LanczosProcess process(
      op,
      detail::unit_start(
          kLanczos, op.like(), options.initial(), options.generator()));

  LanczosResult result;
  bool done = false;
  while (!done && process.steps() < options.max_iterations()) {
    const Step step = process.step();
    if (step == Step::kNotFinite) {
      constexpr double none = std::numeric_limits<double>::quiet_NaN();
      result.iterations = process.steps();
      result.values.assign(count, none);
      result.residuals.assign(count, none);
      result.status = CurvatureStatus::kNotFinite;
      return result;
    }
    const bool enough = static_cast<std::size_t>(process.steps()) >= count;
    if (step == Step::kInvariant) {
      result.status = CurvatureStatus::kInvariantSubspace;
      done = enough || !process.go_on(options.generator());
      if (!done) result.status = CurvatureStatus::kMaxIterations;
    } else if (
        // Without a tolerance not even a bound that underflows ends it: whether
        // one does depends on the LAPACK at hand.
        options.tolerance() > 0 && enough &&
        RitzPairs(process, options.target())
            .are_converged(count, options.tolerance())) {
      result.status = CurvatureStatus::kConverged;
      done = true;
    }
  }

  result.iterations = process.steps();
  const RitzPairs pairs(process, options.target());
  if (pairs.radius() == 0) result.status = CurvatureStatus::kZeroOperator;
  for (std::size_t i = 0; i < std::min(count, pairs.order.size()); ++i) {
    result.values.push_back(pairs.value(i));
    result.residuals.push_back(pairs.residual(i));
    if (options.vectors()) {
      result.vectors.push_back(process.vector(pairs.coordinates(i)));
    }
  }
  return result;
}

}  // namespace stepsize
