#include "csrc/tune/gaussian_process.h"

#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <vector>

#include "tests/tune/search_goldens.h"

namespace stepsize::test {
namespace {

using detail::GaussianProcess;
using detail::KernelNumbers;

at::Tensor rows(const std::vector<double>& values, int64_t columns) {
  return at::tensor(values, at::kDouble).view({-1, columns});
}

at::Tensor vector(const std::vector<double>& values) {
  return at::tensor(values, at::kDouble);
}

// Those of the script that wrote the goldens.
const KernelNumbers kNumbers = {1.7, 0.01, {0.3, 0.8}};

TEST(GaussianProcess, LikelihoodAndGradientAreScikitLearns) {
  const auto found = detail::marginal_likelihood(
      rows(kPoints, 2), vector(kTargets), vector(kKnownVariances), kNumbers);
  EXPECT_NEAR(found.value, kLikelihood[0], 1e-9);
  ASSERT_EQ(found.gradient.size(), kGradient.size());
  for (std::size_t i = 0; i < kGradient.size(); ++i) {
    EXPECT_NEAR(found.gradient[i], kGradient[i], 1e-8) << i;
  }
}

TEST(GaussianProcess, PosteriorIsScikitLearns) {
  const GaussianProcess process(
      rows(kPoints, 2), vector(kTargets), vector(kKnownVariances), kNumbers);
  const auto posterior = process.at(rows(kPlaces, 2));
  for (std::size_t i = 0; i < kMeans.size(); ++i) {
    const auto at = static_cast<int64_t>(i);
    EXPECT_NEAR(posterior.mean[at].item<double>(), kMeans[i], 1e-9) << i;
    EXPECT_NEAR(posterior.variance[at].item<double>(), kVariances[i], 1e-9)
        << i;
  }
}

TEST(GaussianProcess, UnitOfTargetsChangesNothingElse) {
  const at::Tensor points = rows(kPoints, 2);
  const at::Tensor places = rows(kPlaces, 2);
  const at::Tensor known = vector(kKnownVariances);
  const GaussianProcess one(points, vector(kTargets), known);
  const GaussianProcess other(points, vector(kTargets) * 50 + 7, known * 2500);
  const auto a = one.at(places);
  const auto b = other.at(places);
  EXPECT_TRUE(at::allclose(a.mean * 50 + 7, b.mean, 1e-6, 1e-6));
  EXPECT_TRUE(at::allclose(a.variance * 2500, b.variance, 1e-5, 1e-5));
}

TEST(GaussianProcess, FindsSmoothFunctionBetweenItsPoints) {
  const at::Tensor points = at::linspace(0, 1, 12, at::kDouble).view({-1, 1});
  const at::Tensor targets = (6 * points).sin().squeeze(1);
  const GaussianProcess process(points, targets, at::zeros({12}, at::kDouble));
  const at::Tensor places = at::linspace(0, 1, 50, at::kDouble).view({-1, 1});
  const at::Tensor error =
      (process.at(places).mean - (6 * places).sin().squeeze(1)).abs();
  EXPECT_LT(error.max().item<double>(), 0.02);
}

TEST(GaussianProcess, NumbersThatItChoosesAreAPeakOfThePosteriorDensity) {
  const GaussianProcess process(
      rows(kPoints, 2), vector(kTargets), vector(kKnownVariances));
  // The slope of the likelihood is that of the priors, the other way.
  const auto found = detail::marginal_likelihood(
      rows(kPoints, 2),
      vector(kTargets),
      vector(kKnownVariances),
      process.numbers());
  const auto prior_slope = [](double value, double mean, double deviation) {
    return -(std::log(value) - mean) / (deviation * deviation);
  };
  const auto& numbers = process.numbers();
  EXPECT_NEAR(
      found.gradient[0] + prior_slope(numbers.signal_variance, 0, 1), 0, 1e-3);
  EXPECT_NEAR(
      found.gradient[1] +
          prior_slope(numbers.noise_variance, std::log(1e-3), 1.5),
      0,
      1e-3);
  const double length = std::log(0.3 * std::sqrt(2.0));
  for (std::size_t j = 0; j < 2; ++j) {
    EXPECT_NEAR(
        found.gradient[2 + j] + prior_slope(numbers.lengths[j], length, 0.8),
        0,
        1e-3);
  }
}

TEST(GaussianProcess, ANumberThatDoesNothingGetsTheLongerLength) {
  at::Tensor points = at::empty({30, 2}, at::kDouble);
  for (int64_t i = 0; i < 30; ++i) {
    points[i][0] = std::fmod(0.381966 * static_cast<double>(i), 1.0);
    points[i][1] = std::fmod(0.618034 * static_cast<double>(i * i), 1.0);
  }
  const at::Tensor targets = (7 * points.select(1, 0)).cos();
  const GaussianProcess process(points, targets, at::zeros({30}, at::kDouble));
  EXPECT_GT(process.numbers().lengths[1], 3 * process.numbers().lengths[0]);
}

TEST(GaussianProcess, LivesWithEqualPointsAndEqualTargets) {
  const at::Tensor points = at::full({4, 1}, 0.5, at::kDouble);
  const GaussianProcess process(
      points, at::full({4}, 3.0, at::kDouble), at::zeros({4}, at::kDouble));
  EXPECT_NEAR(process.at(points).mean[0].item<double>(), 3, 1e-9);
  const GaussianProcess single(
      points.slice(0, 0, 1),
      at::full({1}, -2.0, at::kDouble),
      at::zeros({1}, at::kDouble));
  EXPECT_NEAR(single.at(points).mean[0].item<double>(), -2, 1e-9);
}

}  // namespace
}  // namespace stepsize::test
