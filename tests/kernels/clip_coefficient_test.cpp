#include <gtest/gtest.h>
#include <stepsize/kernels/grad_norm.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>

#include "csrc/kernels/aten_norm.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

torch::Tensor norm_of(double value) {
  return torch::tensor(value, torch::kDouble);
}

// The host's way, then the way on devices.
std::vector<double> coefficients(double norm, double max_norm) {
  return {
      clip_coefficient(norm_of(norm), max_norm).item<double>(),
      detail::aten_clip_coefficient(norm_of(norm), max_norm).item<double>()};
}

TEST(ClipCoefficient, ShortensWhatIsTooLongAndNothingElse) {
  for (const double c : coefficients(8, 2)) EXPECT_EQ(c, 0.25);
  for (const double c : coefficients(2, 2)) EXPECT_EQ(c, 1.0);
  for (const double c : coefficients(0.5, 2)) EXPECT_EQ(c, 1.0);
  for (const double c : coefficients(0, 2)) EXPECT_EQ(c, 1.0);
}

TEST(ClipCoefficient, ReachesTheNormExactly) {
  // With norm + 1e-6 below the line it would be 1 - 1e-6.
  for (const double c : coefficients(1 + 1e-9, 1)) {
    EXPECT_NEAR(c, 1 - 1e-9, 1e-15);
  }
}

TEST(ClipCoefficient, IsNaNWhereTheNormIsNotFinite) {
  for (const double c : coefficients(kNaN, 1)) EXPECT_TRUE(std::isnan(c));
  for (const double c : coefficients(kInfinity, 1)) EXPECT_TRUE(std::isnan(c));
  for (const double c : coefficients(kInfinity, kInfinity))
    EXPECT_TRUE(std::isnan(c));
}

TEST(ClipCoefficient, InfinityClipsNothing) {
  for (const double c : coefficients(1e300, kInfinity)) EXPECT_EQ(c, 1.0);
}

TEST(ClipCoefficient, KeepsTheTypeOfTheNorm) {
  const auto norm = torch::tensor(4.0F);
  EXPECT_EQ(clip_coefficient(norm, 1).scalar_type(), torch::kFloat);
  EXPECT_EQ(clip_coefficient(norm, 1).item<float>(), 0.25F);
}

TEST(ClipCoefficient, RefusesBadInput) {
  for (const double max_norm : {0.0, -1.0, kNaN}) {
    EXPECT_THROW(clip_coefficient(norm_of(1), max_norm), c10::Error);
  }
  EXPECT_THROW(clip_coefficient(torch::Tensor(), 1), c10::Error);
  EXPECT_THROW(clip_coefficient(torch::ones({1}), 1), c10::Error);
  EXPECT_THROW(clip_coefficient(torch::tensor(1), 1), c10::Error);
}

}  // namespace
}  // namespace stepsize::test
