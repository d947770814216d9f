#include "csrc/tune/expected_improvement.h"

#include <ATen/Functions.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>

#include "tests/tune/search_goldens.h"

namespace stepsize::test {
namespace {

double log_ei(double mean, double deviation, double best) {
  return detail::log_expected_improvement(
             at::full({1}, mean, at::kDouble),
             at::full({1}, deviation, at::kDouble),
             best)
      .item<double>();
}

TEST(ExpectedImprovement, AgreesWithTwoHundredDigits) {
  for (std::size_t i = 0; i < kScores.size(); ++i) {
    const double expected = kLogImprovements[i];
    EXPECT_NEAR(
        log_ei(-kScores[i], 1, 0),
        expected,
        1e-9 * std::max(1.0, std::abs(expected)))
        << kScores[i];
  }
}

// The integral of max(best - y, 0) over the density, by the midpoint rule.
TEST(ExpectedImprovement, IsTheIntegralOfTheImprovement) {
  const double mean = 1.3;
  const double deviation = 0.7;
  const double best = 0.9;
  const double low = mean - 12 * deviation;
  const int count = 200000;
  const double width = (best - low) / count;
  double sum = 0;
  for (int i = 0; i < count; ++i) {
    const double y = low + (i + 0.5) * width;
    const double z = (y - mean) / deviation;
    sum += (best - y) * std::exp(-z * z / 2);
  }
  sum *= width / (deviation * std::sqrt(2 * M_PI));
  EXPECT_NEAR(std::exp(log_ei(mean, deviation, best)), sum, 1e-9);
}

TEST(ExpectedImprovement, OrdersPlacesFarInTheTail) {
  EXPECT_GT(log_ei(50, 0.1, 0), log_ei(50.1, 0.1, 0));
  EXPECT_TRUE(std::isfinite(log_ei(1e6, 1e-3, 0)));
}

TEST(ExpectedImprovement, IsTheGainWhereNothingIsUncertain) {
  EXPECT_NEAR(log_ei(1, 1e-12, 3), std::log(2.0), 1e-9);
}

}  // namespace
}  // namespace stepsize::test
