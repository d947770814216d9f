#include "csrc/tune/lr_noise.h"

#include <gtest/gtest.h>
#include <stepsize/tune/lr_suggestion.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "tests/support/numbers.h"
#include "tests/tune/lr_curves.h"

namespace stepsize {
namespace {

using detail::noise_of;
using detail::noise_up_to;
using test::LRPoints;

std::vector<double> normal_values(std::uint64_t seed, int count) {
  std::mt19937_64 generator(seed);
  std::normal_distribution<double> normal(0, 1);
  std::vector<double> values;
  for (int i = 0; i < count; ++i) values.push_back(normal(generator));
  return values;
}

TEST(LRNoise, AStraightTrendIsNone) {
  EXPECT_EQ(noise_of({25, 16, 7, -2, -11}), 0);
  EXPECT_EQ(noise_of({1, 2}), 0);
  EXPECT_EQ(noise_of({}), 0);
}

TEST(LRNoise, IsTheDeviationWhateverTheTrend) {
  auto values = normal_values(1, 20000);
  // The median of so many is known to 1.2 % of it, as neighbours share points.
  EXPECT_NEAR(noise_of(values), 1, 0.03);
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] -= 50 * static_cast<double>(i);
    if (i % 10 == 0) values[i] = test::kNaN;
  }
  // What is left out makes steps of 100 in a trend of 50: two of each nine
  // bends are wild, which moves the median.
  EXPECT_LT(noise_of(values), 2);
}

TEST(LRNoise, IsThatOfTheStartOrOfWhatLiesBehind) {
  std::vector<double> losses = normal_values(2, 120);
  for (std::size_t i = 40; i < 80; ++i) losses[i] = 0;
  for (std::size_t i = 80; i < 120; ++i) losses[i] *= 1000;
  const double start = noise_up_to(losses, 0, 21);
  EXPECT_NEAR(start, 1, 0.5);
  // Quiet by itself, and what comes behind it does not count.
  EXPECT_EQ(noise_up_to(losses, 79, 21), start);
  EXPECT_GT(noise_up_to(losses, 110, 21), 300);
}

TEST(LRNoise, KnowsTheStepOfTheNumbers) {
  using detail::resolution_of;
  EXPECT_EQ(resolution_of({1.5F, 2.25F, test::kNaN}), std::ldexp(2.25, -8));
  EXPECT_EQ(resolution_of({1.0F / 3, 2}), std::ldexp(1.0, -25));
  EXPECT_EQ(resolution_of({1.0 / 3}), std::ldexp(1.0, -54));
  EXPECT_EQ(resolution_of({std::ldexp(3.0, -1070)}), std::ldexp(3.0, -1078));
  EXPECT_EQ(resolution_of({0, 0}), 0);
  EXPECT_EQ(resolution_of({}), 0);
}

TEST(SuggestLR, NoiseInProportionToTheLossDoesNotPinTheFirstRates) {
  std::vector<double> steepest;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const LRPoints curve = test::vanishing_curve(seed, 0.05);
    const auto found = suggest_lr(curve.lrs, curve.losses);
    ASSERT_TRUE(found.suggested) << seed;
    EXPECT_GT(*found.maximal, 1e-4) << seed;
    EXPECT_GT(*found.suggested, 1e-4) << seed;
    steepest.push_back(std::log10(*found.steepest));
  }
  std::sort(steepest.begin(), steepest.end());
  EXPECT_NEAR(steepest[100], -4, 0.1);
  EXPECT_LT(steepest[150] - steepest[50], 0.25);
}

TEST(SuggestLR, ASteepFallOfFourPointsIsNoNoise) {
  // Gradient descent on x^2 from 5. The trend of its losses is larger than
  // half their fall.
  const std::vector<double> lrs{1e-2, 1e-1, 0.16, 0.25};
  const std::vector<double> losses{25, 16, 7.45, 1.83};
  EXPECT_EQ(suggest_lr(lrs, losses, 1).maximal, 0.25);
  // Of fewer points than a window there is no suggestion.
  EXPECT_FALSE(suggest_lr(lrs, losses).suggested);
}

// Down from 3 to 1 within a point, and back in thirteen.
LRPoints notch(int at) {
  LRPoints curve = test::crafted_curve(0, 0.0);
  for (int i = 0; i < 100; ++i) {
    curve.losses[static_cast<std::size_t>(i)] =
        i < at ? 3 : std::min(3.0, 1 + 0.15 * (i - at));
  }
  return curve;
}

TEST(SuggestLR, AFallAtTheFirstRatesSuggestsNone) {
  const LRPoints early = notch(3);
  EXPECT_FALSE(suggest_lr(early.lrs, early.losses).suggested);
  const LRPoints later = notch(13);
  EXPECT_TRUE(suggest_lr(later.lrs, later.losses).suggested);
}

TEST(SuggestLR, WhatIsNotFiniteAtTheEndsDoesNotMatter) {
  LRPoints curve = test::crafted_curve(0, 0.0);
  const auto before = suggest_lr(curve.lrs, curve.losses);
  for (std::size_t i = 0; i < 20; ++i) curve.losses[i] = test::kNaN;
  for (std::size_t i = 96; i < 100; ++i) curve.losses[i] = test::kInfinity;
  const auto after = suggest_lr(curve.lrs, curve.losses);
  ASSERT_TRUE(after.steepest);
  EXPECT_EQ(*after.steepest, *before.steepest);
  EXPECT_EQ(*after.maximal, *before.maximal);
  EXPECT_EQ(*after.peak, *before.peak);
}

}  // namespace
}  // namespace stepsize
