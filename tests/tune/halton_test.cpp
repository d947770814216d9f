#include "csrc/tune/halton.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include "tests/support/error_text.h"

namespace stepsize::test {
namespace {

std::vector<double> halton(
    int64_t index, std::size_t dimensions, std::uint64_t seed) {
  return detail::Halton(dimensions, seed).point(index);
}

// Of 6^3 points each of the 8 halves of halves of an axis of base 2 has 27,
// each of the 27 thirds of thirds of one of base 3 has 8, and each box of one
// of both has one.
TEST(Halton, FillsEachBoxOfItsBasesAlike) {
  for (const std::uint64_t seed : {0U, 1U, 12345U}) {
    std::set<std::pair<int, int>> boxes;
    for (int64_t i = 0; i < 216; ++i) {
      const auto point = halton(i, 2, seed);
      boxes.insert(
          {static_cast<int>(point[0] * 8), static_cast<int>(point[1] * 27)});
    }
    EXPECT_EQ(boxes.size(), 216U) << seed;
  }
}

TEST(Halton, LiesInTheUnitCubeInAllDimensions) {
  for (int64_t i = 0; i < 500; ++i) {
    for (const double x : halton(i, detail::kMostHaltonDimensions, 3)) {
      EXPECT_GE(x, 0);
      EXPECT_LT(x, 1);
    }
  }
}

// The mean of the product of the coordinates is 2^-d, and the error falls
// nearly as 1 / n.
TEST(Halton, IntegratesFasterThanChance) {
  const int64_t count = 4096;
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    double product = 1;
    for (const double x : halton(i, 4, 7)) product *= x;
    sum += product;
  }
  // By chance the deviation would be sqrt(3^-4 - 2^-8) / 64 = 1.4e-3.
  EXPECT_NEAR(sum / static_cast<double>(count), 1.0 / 16, 3e-4);
}

TEST(Halton, DependsOnItsSeedAlone) {
  EXPECT_EQ(halton(5, 3, 9), halton(5, 3, 9));
  EXPECT_NE(halton(5, 3, 9), halton(5, 3, 10));
}

TEST(Halton, RefusesWhatItHasNoPrimeFor) {
  EXPECT_EQ(
      message_of([] { halton(0, detail::kMostHaltonDimensions + 1, 0); }),
      "Halton: dimensions must be <= 32, got 33");
}

}  // namespace
}  // namespace stepsize::test
