#include <stepsize/tune/lr_suggestion.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "tests/support/error_text.h"
#include "tests/support/numbers.h"
#include "tests/tune/lr_curves.h"

namespace stepsize {
namespace {

using test::crafted_curve;
using test::kInfinity;
using test::kNaN;
using test::LRPoints;
using test::message_of;

double quantile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(
      share * static_cast<double>(values.size() - 1))];
}

TEST(FitLRCurve, IsExactOnAStraightLineInTheLogarithm) {
  std::vector<double> lrs;
  std::vector<double> losses;
  for (int i = 0; i < 30; ++i) {
    lrs.push_back(std::pow(10.0, -6 + 0.2 * i));
    losses.push_back(3 - 0.25 * std::log(lrs.back()));
  }
  const auto fit = fit_lr_curve(lrs, losses, 7);
  for (std::size_t i = 0; i < lrs.size(); ++i) {
    EXPECT_NEAR(fit.values[i], losses[i], 1e-12) << i;
    EXPECT_NEAR(fit.slopes[i], -0.25, 1e-12) << i;
    EXPECT_NEAR(fit.slope_errors[i], 0, 1e-12) << i;
  }
}

TEST(FitLRCurve, WeighsThreePointsByHand) {
  // Half width 1: the weights are 3/4, 1, 3/4, at x = 0, 1, 2.
  const std::vector<double> lrs{1, std::exp(1.0), std::exp(2.0)};
  const auto fit = fit_lr_curve(lrs, {0, 0, 1}, 1);
  EXPECT_NEAR(fit.slopes[1], 0.5, 1e-12);
  EXPECT_NEAR(fit.values[1], 0.75 / 2.5, 1e-12);
  // Residuals .2, -.3, .2 give .15; over 2.5 - (1 + 2 * .5625) / 2.5 -
  // 2 * .5625 / 1.5 = .9 the variance 1/6; times 1.125 / 1.5^2.
  EXPECT_NEAR(fit.slope_errors[1], std::sqrt(1.0 / 12), 1e-12);
}

TEST(FitLRCurve, StandardErrorIsThatOfManyDraws) {
  const auto clean = crafted_curve(0, 0.0);
  std::vector<double> slopes;
  double variance = 0;
  std::mt19937_64 generator(1);
  std::normal_distribution<double> normal(0, 0.1);
  for (int draw = 0; draw < 2000; ++draw) {
    std::vector<double> losses(clean.lrs.size());
    for (double& loss : losses) loss = normal(generator);
    const auto fit = fit_lr_curve(clean.lrs, losses);
    slopes.push_back(fit.slopes[50]);
    variance += fit.slope_errors[50] * fit.slope_errors[50] / 2000;
  }
  double spread = 0;
  for (const double slope : slopes) spread += slope * slope / 2000;
  // Either variance is known to some 3 %.
  EXPECT_NEAR(variance / spread, 1, 0.12);
}

TEST(FitLRCurve, LeavesOutWhatIsNotFinite) {
  const std::vector<double> lrs{1, 2, 4, 8, 16};
  const auto fit = fit_lr_curve(lrs, {5, kNaN, 3, kInfinity, 1}, 4);
  for (std::size_t i = 0; i < lrs.size(); ++i) {
    EXPECT_NEAR(fit.slopes[i], -1 / std::log(2.0), 1e-12);
    EXPECT_NEAR(fit.values[i], 5 - static_cast<double>(i), 1e-12);
  }
  const auto none = fit_lr_curve({1, 2}, {kNaN, kNaN});
  EXPECT_TRUE(std::isnan(none.values[0]));
  EXPECT_TRUE(fit_lr_curve({}, {}).values.empty());
}

TEST(SuggestLR, FindsTheSteepestPointOfANoisyCurve) {
  for (const double width : {0.25, 0.35, 0.5}) {
    std::vector<double> found;
    int in_band = 0;
    for (std::uint64_t seed = 0; seed < 200; ++seed) {
      const LRPoints curve = crafted_curve(seed, 0.1, width);
      const auto suggestions = suggest_lr(curve.lrs, curve.losses);
      ASSERT_TRUE(suggestions.steepest) << seed;
      found.push_back(std::log10(*suggestions.steepest));
      in_band += *suggestions.steepest_low <= 1e-3 &&
                 *suggestions.steepest_high >= 1e-3;
    }
    EXPECT_NEAR(quantile(found, 0.5), -3, 0.1) << width;
    EXPECT_LT(quantile(found, 0.75) - quantile(found, 0.25), 0.25) << width;
    // Two standard errors cover 95 %, of 200 draws at least 180.
    EXPECT_GE(in_band, 180) << width;
  }
}

TEST(SuggestLR, KnowsTheFloorAndTheBeginningOfTheFall) {
  const LRPoints curve = crafted_curve(0, 0.0);
  const auto found = suggest_lr(curve.lrs, curve.losses);
  // At -1.5 the fall is done up to .014 of it, at -1 the rise begins. The
  // window of .8 decades to either side sees the rise before.
  EXPECT_NEAR(std::log10(*found.maximal), -1.3, 0.25);
  // A tenth of a logistic fall is done ln 9 widths before its middle; the
  // window, whose deviation is .36 decades, widens that.
  EXPECT_NEAR(std::log10(*found.low), -3 - 0.35 * std::log(9.0), 0.25);
  EXPECT_DOUBLE_EQ(
      *found.suggested, std::sqrt(*found.steepest * *found.maximal));
}

TEST(SuggestLR, KnowsWhereTheLossLeavesItsFloor) {
  // The curve has fallen by 1.5 and rises as 1.5 (l + 1)^2: by a tenth of that
  // at l = -1 + sqrt(0.1).
  const LRPoints smooth = crafted_curve(0, 0.0);
  const auto exact = suggest_lr(smooth.lrs, smooth.losses);
  EXPECT_NEAR(std::log10(*exact.peak), -1 + std::sqrt(0.1), 0.09);
  // By twice the noise, which is more than a tenth.
  std::vector<double> found;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const LRPoints curve = crafted_curve(seed, 0.1);
    found.push_back(std::log10(*suggest_lr(curve.lrs, curve.losses).peak));
  }
  EXPECT_NEAR(quantile(found, 0.5), -1 + std::sqrt(0.2 / 1.5), 0.15);
  EXPECT_LT(quantile(found, 0.75) - quantile(found, 0.25), 0.25);
}

TEST(SuggestLR, TakesTheLastRateBeforeAStepUpForThePeak) {
  LRPoints curve = crafted_curve(0, 0.0);
  for (std::size_t i = 0; i < 100; ++i) {
    curve.losses[i] = i < 50 ? 2 : (i < 80 ? 1 : 3);
  }
  EXPECT_EQ(*suggest_lr(curve.lrs, curve.losses).peak, curve.lrs[79]);
  // One wild loss is no step.
  curve.losses[70] = 9;
  EXPECT_EQ(*suggest_lr(curve.lrs, curve.losses).peak, curve.lrs[79]);
  // A loss that stays low to the end is good for the last rate.
  for (std::size_t i = 50; i < 100; ++i) curve.losses[i] = 1;
  EXPECT_EQ(*suggest_lr(curve.lrs, curve.losses).peak, curve.lrs[99]);
}

TEST(SuggestLR, DivergenceDoesNotMatter) {
  LRPoints curve = crafted_curve(3, 0.05);
  const auto before = suggest_lr(curve.lrs, curve.losses);
  for (std::size_t i = 85; i < curve.losses.size(); ++i) {
    // To and fro, as at the end of a real test.
    curve.losses[i] = i % 2 == 0 ? 1e30 : 40.0;
  }
  curve.losses.back() = kNaN;
  const auto after = suggest_lr(curve.lrs, curve.losses);
  EXPECT_EQ(*after.steepest, *before.steepest);
  EXPECT_EQ(*after.suggested, *before.suggested);
  EXPECT_EQ(*after.peak, *before.peak);
}

TEST(SuggestLR, ASecondDipBeyondTheRiseDoesNotMatter) {
  LRPoints curve = crafted_curve(6, 0.05);
  for (std::size_t i = 74; i < curve.losses.size(); ++i) curve.losses[i] = 5;
  const auto before = suggest_lr(curve.lrs, curve.losses);
  // A window's width later, lower than ever before.
  for (std::size_t i = 88; i < curve.losses.size(); ++i) curve.losses[i] = 0;
  const auto after = suggest_lr(curve.lrs, curve.losses);
  EXPECT_EQ(*after.steepest, *before.steepest);
  EXPECT_EQ(*after.maximal, *before.maximal);
}

TEST(SuggestLR, DoesNotDependOnHeightOrScaleOfTheLoss) {
  LRPoints curve = crafted_curve(5, 0.1);
  const auto before = suggest_lr(curve.lrs, curve.losses);
  for (double& loss : curve.losses) loss = 16 * loss - 1024;
  const auto after = suggest_lr(curve.lrs, curve.losses);
  EXPECT_EQ(*after.steepest, *before.steepest);
  EXPECT_EQ(*after.suggested, *before.suggested);
  EXPECT_EQ(*after.maximal, *before.maximal);
}

TEST(SuggestLR, SaysNothingWithoutAFall) {
  std::mt19937_64 generator(2);
  std::normal_distribution<double> normal(0, 1);
  int claims = 0;
  for (int draw = 0; draw < 2000; ++draw) {
    LRPoints curve = crafted_curve(0, 0.0);
    for (double& loss : curve.losses) loss = normal(generator);
    claims += suggest_lr(curve.lrs, curve.losses).suggested.has_value();
  }
  // Two in a hundred.
  EXPECT_LE(claims, 40);
  const std::vector<double> lrs{1, 2, 3, 4};
  EXPECT_FALSE(suggest_lr(lrs, {1, 2, 3, 4}).suggested);
  EXPECT_FALSE(suggest_lr(lrs, {1, 1, 1, 1}).suggested);
  EXPECT_FALSE(suggest_lr(lrs, {kNaN, kNaN, kNaN, kNaN}).suggested);
  EXPECT_FALSE(suggest_lr({}, {}).suggested);
}

TEST(AveragedLosses, FirstValuesByHand) {
  // (.75 * 4 * .25 + .25 * 8) / (1 - .75^2) = 2.75 / .4375
  const auto averaged = averaged_losses({4, 8}, 0.75);
  EXPECT_DOUBLE_EQ(averaged[0], 4);
  EXPECT_DOUBLE_EQ(averaged[1], 2.75 / 0.4375);
  EXPECT_EQ(averaged_losses({4, 8}, 0)[1], 8);
}

TEST(OtherRules, ValleyIsAtHalfOfTheLongestFall) {
  // The longest decreasing subsequence: 9 8 7 6 5 4, length 6, which ends at
  // index 7. Its start counts as 7 - 6 = 1, the point is 1 + 2 + 1 = 4.
  const std::vector<double> losses{10, 11, 9, 8, 7, 6, 5, 4, 6, 12};
  std::vector<double> lrs;
  for (std::size_t i = 0; i < losses.size(); ++i) {
    lrs.push_back(static_cast<double>(i + 1));
  }
  // 11 9 8 7 6 5 4 (or 10 9 ...) has length 7: 7 - 7 + 2 + 1 = 3.
  EXPECT_EQ(valley_lr(lrs, losses), 4.0);
  EXPECT_FALSE(valley_lr({1, 2, 3}, {1, 1, 2}));
}

// The definition, in quadratic time.
std::size_t valley_by_definition(const std::vector<double>& losses) {
  std::vector<std::size_t> longest(losses.size(), 1);
  std::size_t end = 0;
  for (std::size_t i = 0; i < losses.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (losses[i] < losses[j]) {
        longest[i] = std::max(longest[i], longest[j] + 1);
      }
    }
    if (longest[i] > longest[end]) end = i;
  }
  const std::size_t length = longest[end];
  const std::size_t index = end + length / 3 + length / 6;
  return index < length ? 0 : index - length;
}

TEST(OtherRules, ValleyIsThatOfTheDefinition) {
  std::mt19937_64 generator(4);
  std::uniform_int_distribution<int> loss(0, 40);
  for (int draw = 0; draw < 200; ++draw) {
    std::vector<double> lrs;
    std::vector<double> losses;
    for (int i = 0; i < 60; ++i) {
      lrs.push_back(i + 1);
      losses.push_back(loss(generator));
    }
    EXPECT_EQ(valley_lr(lrs, losses), lrs[valley_by_definition(losses)]);
  }
}

TEST(OtherRules, ValleyOfManyPointsIsQuick) {
  std::vector<double> lrs;
  std::vector<double> losses;
  constexpr int kPoints = 1000000;
  for (int i = 0; i < kPoints; ++i) {
    lrs.push_back(i + 1);
    losses.push_back(-i);
  }
  // In quadratic time this would be 5e11 comparisons.
  EXPECT_EQ(valley_lr(lrs, losses), lrs[kPoints / 3 + kPoints / 6 - 1]);
}

TEST(OtherRules, SteepAndMinimumByHand) {
  const std::vector<double> lrs{1, 10, 100, 1000, 10000};
  const std::vector<double> losses{5, 4.5, 2, 1, kNaN};
  EXPECT_EQ(steep_lr(lrs, losses), 10.0);
  EXPECT_EQ(minimum_tenth_lr(lrs, losses), 100.0);
  EXPECT_FALSE(steep_lr({1, 2}, {1, 2}));
  EXPECT_FALSE(minimum_tenth_lr({1}, {kNaN}));
}

TEST(LRSuggestionErrors, NameRuleAndValue) {
  EXPECT_EQ(
      message_of([] {
        fit_lr_curve({1, 2}, {1});
      }),
      "fit_lr_curve: there must be as many rates as losses, got 2 and 1");
  EXPECT_EQ(
      message_of([] {
        suggest_lr({1, 1}, {1, 2});
      }),
      "fit_lr_curve: the rates must be finite, > 0 and increasing, got 1 at "
      "index 1");
  EXPECT_EQ(
      message_of([] { valley_lr({-1}, {1}); }),
      "valley_lr: the rates must be finite, > 0 and increasing, got -1 at "
      "index 0");
  EXPECT_EQ(
      message_of([] { fit_lr_curve({1}, {1}, 0); }),
      "fit_lr_curve: half_width must be >= 1, got 0");
  EXPECT_EQ(
      message_of([] { averaged_losses({1}, 1); }),
      "averaged_losses: smoothing must be in [0, 1), got 1");
}

}  // namespace
}  // namespace stepsize
