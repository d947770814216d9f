#include <c10/util/Exception.h>
#include <stepsize/curvature/spectral_density.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "csrc/core/check.h"
#include "csrc/curvature/lanczos_process.h"
#include "csrc/curvature/vector_math.h"

namespace stepsize {
namespace {

constexpr char kSpectralDensity[] = "spectral_density";

void check_options(const SpectralDensityOptions& options) {
  using detail::check_option;
  check_option(
      options.samples() >= 1,
      kSpectralDensity,
      "samples",
      ">= 1",
      options.samples());
  check_option(
      options.steps() >= 1, kSpectralDensity, "steps", ">= 1", options.steps());
  check_option(
      options.points() >= 2 && options.points() <= 10'000'000,
      kSpectralDensity,
      "points",
      "in [2, 1e7]",
      options.points());
  check_option(
      options.width() > 0 && options.width() <= 1,
      kSpectralDensity,
      "width",
      "in (0, 1]",
      options.width());
}

// The quadrature of one random start: its nodes and their weights.
struct Quadrature {
  std::vector<double> nodes;
  std::vector<double> weights;

  explicit Quadrature(const detail::LanczosProcess& process) {
    const detail::TridiagonalEigen eigen(process.alphas(), process.betas());
    const at::Tensor first = eigen.vectors.select(0, 0).contiguous();
    const double* components = first.data_ptr<double>();
    nodes = eigen.values;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      weights.push_back(components[i] * components[i]);
    }
  }
};

void lay_grid(SpectralDensity& result, const SpectralDensityOptions& options) {
  const auto ends =
      std::minmax_element(result.nodes.begin(), result.nodes.end());
  const double low = *ends.first;
  const double high = *ends.second;
  // All eigenvalues at one place have no distance to go by.
  const double magnitude = std::max(std::abs(low), std::abs(high));
  double extent = high - low;
  if (extent <= 1e-12 * magnitude) extent = magnitude > 0 ? magnitude : 1;
  result.sigma = options.width() * extent;
  const double start = low - 5 * result.sigma;
  const double length = high + 5 * result.sigma - start;
  for (int64_t i = 0; i < options.points(); ++i) {
    const double share =
        static_cast<double>(i) / static_cast<double>(options.points() - 1);
    result.grid.push_back(start + share * length);
  }
}

double smeared(const Quadrature& quadrature, double x, double sigma) {
  constexpr double kRootOfTwoPi = 2.50662827463100050242;
  double sum = 0;
  for (std::size_t i = 0; i < quadrature.nodes.size(); ++i) {
    const double z = (x - quadrature.nodes[i]) / sigma;
    sum += quadrature.weights[i] * std::exp(-0.5 * z * z);
  }
  return sum / (kRootOfTwoPi * sigma);
}

void lay_density(
    SpectralDensity& result, const std::vector<Quadrature>& samples) {
  const double n = static_cast<double>(samples.size());
  for (const double x : result.grid) {
    double mean = 0;
    double squares = 0;
    double count = 0;
    for (const Quadrature& sample : samples) {
      const double height = smeared(sample, x, result.sigma);
      const double deviation = height - mean;
      mean += deviation / ++count;
      squares += deviation * (height - mean);
    }
    result.density.push_back(mean);
    result.standard_error.push_back(
        n > 1 ? std::sqrt(squares / (n - 1) / n) : 0.0);
  }
}

}  // namespace

double SpectralDensity::moment(int64_t p) const {
  TORCH_CHECK(p >= 0, "SpectralDensity: p must be >= 0, got ", p);
  double sum = 0;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    sum += weights[i] * std::pow(nodes[i], static_cast<double>(p));
  }
  return sum;
}

SpectralDensity spectral_density(
    const LinearOperator& op, const SpectralDensityOptions& options) {
  using Step = detail::LanczosProcess::Step;
  check_options(options);
  SpectralDensity result;
  std::vector<Quadrature> samples;
  bool zero = true;
  for (int64_t s = 0; s < options.samples(); ++s) {
    const TensorVector z =
        detail::draw(op.like(), options.distribution(), options.generator());
    detail::LanczosProcess process(op, detail::divided(z, detail::norm(z)));
    Step step = Step::kGoOn;
    while (step == Step::kGoOn && process.steps() < options.steps()) {
      step = process.step();
    }
    result.iterations += process.steps();
    if (step == Step::kNotFinite) {
      SpectralDensity broken;
      broken.iterations = result.iterations;
      broken.status = CurvatureStatus::kNotFinite;
      return broken;
    }
    if (step == Step::kInvariant) {
      result.status = CurvatureStatus::kInvariantSubspace;
    }
    samples.emplace_back(process);
  }
  const double share = 1 / static_cast<double>(samples.size());
  for (const Quadrature& sample : samples) {
    for (std::size_t i = 0; i < sample.nodes.size(); ++i) {
      zero = zero && sample.nodes[i] == 0;
      result.nodes.push_back(sample.nodes[i]);
      result.weights.push_back(share * sample.weights[i]);
    }
  }
  if (zero) result.status = CurvatureStatus::kZeroOperator;
  lay_grid(result, options);
  lay_density(result, samples);
  return result;
}

}  // namespace stepsize
