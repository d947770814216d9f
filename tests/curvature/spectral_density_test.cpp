#include <gtest/gtest.h>
#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/spectral_density.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include "tests/curvature/support/problems.h"

namespace stepsize::test {
namespace {

using Status = CurvatureStatus;

SpectralDensityOptions drawing(int64_t samples, int64_t steps) {
  return SpectralDensityOptions().samples(samples).steps(steps).generator(
      seeded(1));
}

// By the trapezoidal rule, from `low` to `high`.
double mass(const SpectralDensity& result, double low, double high) {
  double sum = 0;
  for (std::size_t i = 1; i < result.grid.size(); ++i) {
    if (result.grid[i - 1] >= low && result.grid[i] <= high) {
      sum += (result.grid[i] - result.grid[i - 1]) *
             (result.density[i] + result.density[i - 1]) / 2;
    }
  }
  return sum;
}

double sum_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

TEST(SpectralDensity, IntegratesToOne) {
  std::vector<double> eigenvalues;
  for (int i = 0; i < 100; ++i) eigenvalues.push_back(std::sin(i));
  const auto result = spectral_density(
      matrix_operator(matrix_with(eigenvalues, 1)), drawing(5, 30));
  EXPECT_EQ(result.status, Status::kConverged);
  EXPECT_EQ(result.iterations, 150);
  EXPECT_NEAR(mass(result, -10, 10), 1, 1e-5);
  EXPECT_NEAR(sum_of(result.weights), 1, 1e-12);
  EXPECT_EQ(result.grid.size(), 1000U);
  EXPECT_EQ(result.density.size(), 1000U);
  EXPECT_EQ(result.standard_error.size(), 1000U);
}

TEST(SpectralDensity, SharesOfEigenvaluesAreMasses) {
  // 900 eigenvalues 0, 90 of 1 and 10 of 5, three nodes a sample.
  std::vector<double> eigenvalues(1000, 0.0);
  std::fill_n(eigenvalues.begin(), 90, 1.0);
  std::fill_n(eigenvalues.begin() + 90, 10, 5.0);
  const auto result = spectral_density(diagonal(eigenvalues), drawing(40, 20));
  EXPECT_EQ(result.status, Status::kInvariantSubspace);
  EXPECT_EQ(result.iterations, 120);
  // A share s has the variance 2 s (1 - s) / (n + 2) a sample.
  const auto deviation = [](double s) {
    return std::sqrt(2 * s * (1 - s) / 1002 / 40);
  };
  EXPECT_NEAR(mass(result, -0.5, 0.5), 0.9, 4 * deviation(0.9));
  EXPECT_NEAR(mass(result, 0.5, 1.5), 0.09, 4 * deviation(0.09));
  EXPECT_NEAR(mass(result, 4.5, 5.5), 0.01, 4 * deviation(0.01));
  EXPECT_NEAR(result.sigma, 0.05, 1e-12);
}

TEST(SpectralDensity, RademacherStartsOfADiagonalMatrixAreExact) {
  // The weights of a diagonal matrix are the squares of the start: 1/n each.
  const auto result = spectral_density(
      diagonal({1, 2, 3, 4}),
      drawing(2, 10).distribution(ProbeDistribution::kRademacher));
  for (const double weight : result.weights) {
    EXPECT_NEAR(weight, 0.125, 1e-12);
  }
  EXPECT_NEAR(result.moment(0), 1, 1e-12);
  EXPECT_NEAR(result.moment(1), 2.5, 1e-12);
  EXPECT_NEAR(result.moment(2), 7.5, 1e-12);
  EXPECT_NEAR(result.moment(5), (1 + 32 + 243 + 1024) / 4.0, 1e-9);
  EXPECT_NEAR(
      *std::max_element(
          result.standard_error.begin(), result.standard_error.end()),
      0,
      1e-9);
}

TEST(SpectralDensity, FewStepsKeepTheLowMoments) {
  // Quadrature of m nodes is exact to degree 2m - 1 for each start: with
  // Rademacher starts, z' A^p z / n for the very same z.
  std::vector<double> eigenvalues;
  for (int i = 0; i < 50; ++i) eigenvalues.push_back(0.1 * i - 1);
  const LinearOperator op = diagonal(eigenvalues);
  const auto result = spectral_density(
      op, drawing(1, 3).distribution(ProbeDistribution::kRademacher));
  ASSERT_EQ(result.nodes.size(), 3U);
  for (int p = 0; p <= 5; ++p) {
    double expected = 0;
    for (const double value : eigenvalues) expected += std::pow(value, p) / 50;
    EXPECT_NEAR(result.moment(p), expected, 1e-11) << p;
  }
}

TEST(SpectralDensity, SemicircleOfAGaussianOrthogonalEnsemble) {
  // Wigner: density sqrt(4 - x^2) / (2 pi).
  constexpr int64_t kSize = 600;
  const at::Tensor random =
      torch::empty({kSize, kSize}, torch::kDouble).normal_(0, 1, seeded(8));
  const at::Tensor matrix =
      (random + random.t()) / std::sqrt(2.0 * static_cast<double>(kSize));
  const auto result =
      spectral_density(matrix_operator(matrix), drawing(10, 60).width(0.03));
  for (std::size_t i = 0; i < result.grid.size(); ++i) {
    const double x = result.grid[i];
    if (std::abs(x) < 1.6) {
      EXPECT_NEAR(result.density[i], std::sqrt(4 - x * x) / (2 * M_PI), 0.04)
          << x;
    }
  }
  EXPECT_NEAR(result.nodes.front(), -2, 0.1);
}

TEST(SpectralDensity, OneEigenvalueIsOnePeak) {
  const auto result = spectral_density(diagonal({3, 3}), drawing(2, 5));
  EXPECT_EQ(result.status, Status::kInvariantSubspace);
  EXPECT_EQ(result.iterations, 2);
  EXPECT_NEAR(result.sigma, 0.03, 1e-12);
  EXPECT_NEAR(mass(result, 2.8, 3.2), 1, 1e-5);
}

TEST(SpectralDensity, MeanIsTheTraceOfANetwork) {
  const SmallNet net;
  const HessianOperator op =
      hessian_operator([&] { return net.cross_entropy(); }, net.parameters);
  const at::Tensor matrix = dense(op);
  const double n = static_cast<double>(op.dimension());
  const auto result = spectral_density(op, drawing(200, 50));
  const double mean = matrix.trace().item<double>() / n;
  const double square = matrix.pow(2).sum().item<double>() / n;
  // A mean z'Az / |z|^2 has the variance 2 (square - mean^2) / (n + 2).
  EXPECT_NEAR(
      result.moment(1),
      mean,
      4 * std::sqrt(2 * (square - mean * mean) / (n + 2) / 200));
  const at::Tensor ends = torch::linalg_eigvalsh(matrix);
  EXPECT_NEAR(
      *std::max_element(result.nodes.begin(), result.nodes.end()),
      ends.max().item<double>(),
      1e-9);
  EXPECT_NEAR(
      *std::min_element(result.nodes.begin(), result.nodes.end()),
      ends.min().item<double>(),
      1e-9);
}

TEST(SpectralDensity, SaysWhatIsWrong) {
  const auto zero = spectral_density(diagonal({0, 0}), drawing(2, 5));
  EXPECT_EQ(zero.status, Status::kZeroOperator);
  EXPECT_NEAR(mass(zero, -1, 1), 1, 1e-5);
  const auto broken =
      spectral_density(diagonal({1, std::nan("")}), drawing(2, 5));
  EXPECT_EQ(broken.status, Status::kNotFinite);
  EXPECT_TRUE(broken.grid.empty());
  EXPECT_EQ(broken.iterations, 1);
}

TEST(SpectralDensity, RefusesBadOptions) {
  const LinearOperator op = diagonal({1, 2});
  EXPECT_THROW(spectral_density(op, drawing(0, 5)), c10::Error);
  EXPECT_THROW(spectral_density(op, drawing(1, 0)), c10::Error);
  EXPECT_THROW(spectral_density(op, drawing(1, 5).points(1)), c10::Error);
  EXPECT_THROW(spectral_density(op, drawing(1, 5).width(0)), c10::Error);
  EXPECT_THROW(spectral_density(op, drawing(1, 5).width(1.5)), c10::Error);
  EXPECT_THROW(SpectralDensity().moment(-1), c10::Error);
  EXPECT_EQ(op.products(), 0);
}

}  // namespace
}  // namespace stepsize::test
