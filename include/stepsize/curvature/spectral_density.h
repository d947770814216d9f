#pragma once

#include <ATen/core/Generator.h>
#include <stepsize/curvature/curvature_status.h>
#include <stepsize/curvature/hutchinson.h>
#include <stepsize/curvature/linear_operator.h>
#include <torch/arg.h>

#include <cstdint>
#include <vector>

namespace stepsize {

/// Options of spectral_density.
class SpectralDensityOptions {
 public:
  /// Random start vectors; >= 1. Ten, and 90 steps, are those of Ghorbani,
  /// Krishnan and Xiao 2019, arXiv:1901.10159.
  TORCH_ARG(int64_t, samples) = 10;
  /// Lanczos steps a sample, a product and a kept vector each; >= 1.
  TORCH_ARG(int64_t, steps) = 90;
  /// Points of the grid; in [2, 1e7].
  TORCH_ARG(int64_t, points) = 1000;
  /// Standard deviation of the Gaussian that each eigenvalue is smeared into,
  /// relative to the distance of the largest from the smallest node; in
  /// (0, 1]. Narrower peaks need more steps, not a smaller width.
  TORCH_ARG(double, width) = 0.01;
  TORCH_ARG(ProbeDistribution, distribution) = ProbeDistribution::kGaussian;
  /// Draws the starts; undefined: the default generator of each device.
  TORCH_ARG(at::Generator, generator);
};

/// The density of eigenvalues: how large a share of them lies where.
///
///     LinePlot plot("Eigenvalues");
///     plot.y_log().line("density", result.grid, result.density);
struct SpectralDensity {
  /// Evenly spaced, from five widths below the smallest node to five above the
  /// largest.
  std::vector<double> grid;
  /// Density at each point; its integral is 1.
  std::vector<double> density;
  /// Standard error of each over the samples; zeros if there is but one.
  std::vector<double> standard_error;
  /// The quadrature itself: Ritz values of all samples and their weights, which
  /// are >= 0 and add up to 1. The extreme nodes are good estimates of
  /// the extreme eigenvalues.
  std::vector<double> nodes;
  std::vector<double> weights;
  /// The standard deviation that was used, in units of an eigenvalue.
  double sigma = 0.0;
  /// Products made.
  int64_t iterations = 0;
  CurvatureStatus status = CurvatureStatus::kConverged;

  /// The mean of lambda^p over the eigenvalues, trace(A^p) / n, as the nodes
  /// have it; p >= 0. Up to p = 2 steps - 1 its only error is the samples'.
  double moment(int64_t p) const;
};

/// The density of eigenvalues by stochastic Lanczos quadrature: from random
/// starts, the eigenvalues of the tridiagonal matrix are nodes and the squared
/// first components of its eigenvectors are weights (Golub and Meurant; Lin,
/// Saad and Yang 2016, arXiv:1308.5467). Memory of `steps` vectors.
///
/// kConverged: every sample ran all its steps. kInvariantSubspace: a Krylov
/// space closed before that, which is exact for its sample. kZeroOperator: all
/// products were zero. kNotFinite: all vectors are empty.
///
/// Throws c10::Error where an option is out of its range.
SpectralDensity spectral_density(
    const LinearOperator& op, const SpectralDensityOptions& options = {});

}  // namespace stepsize
