#pragma once

#include <ATen/core/Tensor.h>

#include <vector>

namespace stepsize::detail {

/// Numbers of a Gaussian process, in units of its targets' deviation.
struct KernelNumbers {
  double signal_variance = 1;
  double noise_variance = 1e-3;
  std::vector<double> lengths;  ///< one a dimension
};

/// A function that is known at some points, with noise: a Gaussian process with
/// the Matern kernel of nu = 5/2 and a length a dimension (Rasmussen, Williams,
/// Gaussian Processes for Machine Learning, 2006, chapters 2, 4.2 and 5.4):
///
///   k(x, x') = s (1 + sqrt(5) r + 5 r^2 / 3) exp(-sqrt(5) r)
///   r^2 = sum_j (x_j - x'_j)^2 / l_j^2
///
/// Targets are centred and divided by their deviation first. All is float64;
/// n points take O(n^3).
class GaussianProcess {
 public:
  /// points [n, d], targets [n], and the variances of the targets' noise that
  /// are known, [n], in their own unit squared; n >= 1. The kernel's numbers
  /// are those of the highest posterior density: marginal likelihood times
  /// log-normal priors, around l = 0.3 sqrt(d), s = 1 and a noise of 1e-3.
  GaussianProcess(
      at::Tensor points,
      const at::Tensor& targets,
      const at::Tensor& variances);
  /// The same with numbers that are given.
  GaussianProcess(
      at::Tensor points,
      const at::Tensor& targets,
      const at::Tensor& variances,
      const KernelNumbers& numbers);

  struct Posterior {
    at::Tensor mean;      ///< [m]
    at::Tensor variance;  ///< [m], of the function, without noise
  };
  /// At points [m, d].
  Posterior at(const at::Tensor& points) const;

  const KernelNumbers& numbers() const { return numbers_; }
  /// ln p(targets | points) of the targets as they are, centred and divided.
  double log_likelihood() const { return log_likelihood_; }

 private:
  void scale(const at::Tensor& targets, const at::Tensor& variances);
  void choose_numbers();
  void solve();

  at::Tensor points_;
  at::Tensor targets_;
  at::Tensor variances_;
  double centre_ = 0;
  double deviation_ = 1;
  KernelNumbers numbers_;
  at::Tensor factor_;   // lower, of the covariance
  at::Tensor weights_;  // covariance^-1 targets
  double log_likelihood_ = 0;
};

/// ln p(targets | points), its gradient by ln s, ln noise and each ln l, for
/// targets and variances as they are.
struct Likelihood {
  double value;
  std::vector<double> gradient;
};
Likelihood marginal_likelihood(
    const at::Tensor& points,
    const at::Tensor& targets,
    const at::Tensor& variances,
    const KernelNumbers& numbers);

}  // namespace stepsize::detail
