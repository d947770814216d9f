#include <stepsize/tune/lr_suggestion.h>

#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>
#include <gtest/gtest.h>
#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/ramp.h>
#include <stepsize/schedule/recipe.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "csrc/tune/lr_curve.h"
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
  // Nine tenths are done ln 9 widths behind the middle.
  const double done = -3 + 0.35 * std::log(9.0);
  EXPECT_NEAR(std::log10(*found.suggested), (done - 1.3) / 2, 0.25);
  // Without noise nothing but the lowest rate may be the lowest.
  EXPECT_DOUBLE_EQ(*found.peak, *found.maximal);
}

TEST(SuggestLR, PeakIsTheMiddleOfTheFloor) {
  // Noise leaves some rates around the lowest in question.
  const LRPoints smooth = crafted_curve(0, 0.0);
  const double lowest =
      std::log10(*suggest_lr(smooth.lrs, smooth.losses).maximal);
  std::vector<double> found;
  std::vector<double> maximal;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const LRPoints curve = crafted_curve(seed, 0.1);
    const auto suggestions = suggest_lr(curve.lrs, curve.losses);
    found.push_back(std::log10(*suggestions.peak));
    maximal.push_back(std::log10(*suggestions.maximal));
  }
  EXPECT_NEAR(quantile(found, 0.5), lowest, 0.15);
  const auto spread = [](const std::vector<double>& values) {
    return quantile(values, 0.75) - quantile(values, 0.25);
  };
  EXPECT_LT(spread(found), 0.25);
  // It is the steadier of the two.
  EXPECT_LT(spread(found), spread(maximal));
}

TEST(SuggestLR, PeakOfALevelFloorIsItsMiddle) {
  LRPoints curve = crafted_curve(0, 0.0);
  for (std::size_t i = 0; i < 100; ++i) {
    curve.losses[i] = i < 50 ? 2 : (i < 80 ? 1 : 3);
  }
  // Windows of ten points to either side lie within the floor from 60 to 69.
  const auto middle = [&](std::size_t from, std::size_t to) {
    return std::sqrt(curve.lrs[from] * curve.lrs[to]);
  };
  const auto step = suggest_lr(curve.lrs, curve.losses);
  EXPECT_NEAR(std::log10(*step.peak), std::log10(middle(60, 69)), 0.1);
  // A loss that stays low to the end.
  for (std::size_t i = 50; i < 100; ++i) curve.losses[i] = 1;
  const auto level = suggest_lr(curve.lrs, curve.losses);
  EXPECT_NEAR(std::log10(*level.peak), std::log10(middle(60, 99)), 0.1);
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
  // Seven in a thousand, and three deviations.
  EXPECT_LE(claims, 14 + 11);
  const std::vector<double> lrs{1, 2, 3, 4};
  EXPECT_FALSE(suggest_lr(lrs, {1, 2, 3, 4}).suggested);
  EXPECT_FALSE(suggest_lr(lrs, {1, 1, 1, 1}).suggested);
  EXPECT_FALSE(suggest_lr(lrs, {kNaN, kNaN, kNaN, kNaN}).suggested);
  EXPECT_FALSE(suggest_lr({}, {}).suggested);
}

// 4.81 falls to 4.57 and rises again, with noise of 0.094 a loss: what a
// hundred classes gave at batch 64. The mean of nine losses is seven standard
// errors below the start's.
TEST(SuggestLR, SeesAFallOfManyStandardErrors) {
  int found = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    LRPoints curve = crafted_curve(seed, 0.094 * 1.5 / 0.24);
    for (double& loss : curve.losses) loss = 4.81 + (loss - 2.3) * 0.24 / 1.5;
    found += suggest_lr(curve.lrs, curve.losses).suggested.has_value();
  }
  EXPECT_GE(found, 190);
}

std::vector<double> rates(int count) {
  std::vector<double> lrs;
  for (int i = 0; i < count; ++i) {
    lrs.push_back(std::pow(10.0, -7 + 8.0 * i / (count - 1)));
  }
  return lrs;
}

struct Sweep {
  int count;
  int half_width;
};

constexpr Sweep kSweeps[] = {{100, 10}, {300, 15}, {400, 20}, {2000, 100}};

TEST(SuggestLR, ALossThatIsAlwaysTheSameSuggestsNone) {
  std::mt19937_64 generator(11);
  std::uniform_real_distribution<double> height(-3, 10);
  for (const auto& [count, half_width] : kSweeps) {
    const auto lrs = rates(count);
    for (int draw = 0; draw < 100; ++draw) {
      const double loss = draw == 0 ? 2.1807734966278076 : height(generator);
      std::vector<double> losses(lrs.size(), loss);
      EXPECT_FALSE(suggest_lr(lrs, losses, half_width).suggested) << loss;
      // The next double below is no fall either.
      for (std::size_t i = losses.size() / 2; i < losses.size(); ++i) {
        losses[i] = std::nextafter(loss, -100.0);
      }
      EXPECT_FALSE(suggest_lr(lrs, losses, half_width).suggested) << loss;
    }
  }
}

// Means of losses in bfloat16 show no step of that type.
TEST(SuggestLR, AStepOfATypeThatIsKnownIsNoFallOfMeans) {
  std::mt19937_64 generator(12);
  std::bernoulli_distribution lower(0.02);
  for (const int ranks : {3, 5, 7}) {
    for (int draw = 0; draw < 100; ++draw) {
      std::vector<double> losses(400);
      for (double& loss : losses) {
        for (int rank = 0; rank < ranks; ++rank) {
          loss += (2.296875 - (lower(generator) ? 0x1p-6 : 0)) / ranks;
        }
      }
      EXPECT_FALSE(detail::lr_curve(rates(400), losses, 20, 0x1p-7).falls);
    }
  }
}

TEST(SuggestLR, SaysNothingOfNoiseAtAnyNumberOfRates) {
  std::mt19937_64 generator(13);
  std::normal_distribution<double> normal(0, 1);
  for (const auto& [count, half_width] : kSweeps) {
    const auto lrs = rates(count);
    int claims = 0;
    for (int draw = 0; draw < 1000; ++draw) {
      std::vector<double> losses(lrs.size());
      for (double& loss : losses) loss = normal(generator);
      claims += suggest_lr(lrs, losses, half_width).suggested.has_value();
    }
    // One in a hundred, and three deviations.
    EXPECT_LE(claims, 10 + 10) << count;
  }
}

// The fall of a crafted curve is done at 0.06 and the rise begins at 0.1.
LRPoints with_bump(double height) {
  LRPoints curve = crafted_curve(0, 0.0);
  curve.lrs = rates(400);
  curve.losses.clear();
  for (const double lr : curve.lrs) {
    const double l = std::log10(lr);
    const double bump = height * std::exp(-(l + 1.5) * (l + 1.5) / 0.08);
    const double rise = l > 0 ? 3 * l * l : 0;
    curve.losses.push_back(
        2.3 - 1.5 / (1 + std::exp(-(l + 4) / 0.2)) + bump + rise);
  }
  return curve;
}

TEST(SuggestLR, AFloorGoesOnBeyondASmallRiseAndEndsAtALargeOne) {
  std::mt19937_64 generator(14);
  std::normal_distribution<double> normal(0, 0.05);
  const auto peak = [&](double height) {
    LRPoints curve = with_bump(height);
    for (double& loss : curve.losses) loss += normal(generator);
    return std::log10(*suggest_lr(curve.lrs, curve.losses, 20).peak);
  };
  // The fall is 1.5. Between -3 and -2.2, or up to -0.3.
  EXPECT_NEAR(peak(0.45), -1.6, 0.5);
  EXPECT_NEAR(peak(1.2), -2.6, 0.4);
}

TEST(SuggestLR, CopesWithRatesWhoseProductIsNoNumber) {
  for (const double shift : {-190.0, 180.0}) {
    LRPoints curve = crafted_curve(0, 0.0);
    for (double& lr : curve.lrs) lr *= std::pow(10.0, shift);
    const auto found = suggest_lr(curve.lrs, curve.losses);
    EXPECT_NEAR(std::log10(*found.peak), -1.3 + shift, 0.3);
    EXPECT_NEAR(std::log10(*found.suggested), -1.8 + shift, 0.3);
  }
}

TEST(ForSchedule, LooksAtEveryUpdateOfAShortRun) {
  LRSuggestions found;
  found.suggested = 0.5;
  found.peak = 0.5;
  for (int64_t at = 0; at < 100; ++at) {
    const auto spike = callable(
        [at](double t) { return t == static_cast<double>(at) ? 2.0 : 0.0; });
    EXPECT_EQ(found.for_schedule(spike, 100), 0.25) << at;
  }
}

TEST(ForSchedule, RefusesAFactorThatIsNoNumber) {
  LRSuggestions found;
  found.suggested = 0.5;
  found.peak = 0.5;
  EXPECT_EQ(
      message_of([&] { found.for_schedule(constant(1e-320), 3); }),
      "LRSuggestions::for_schedule: the base rate, 0.5 over the highest factor "
      "must be finite and > 0, got inf");
}

// As in type T, up to four steps of which are rounding.
template <typename T>
std::vector<double> rounded(std::vector<double> losses) {
  for (double& loss : losses) {
    loss = static_cast<double>(T(static_cast<float>(loss)));
  }
  return losses;
}

TEST(SuggestLR, AStepOfRoundingIsNoFall) {
  const LRPoints curve = crafted_curve(0, 0.0);
  std::vector<double> single(100, 1.5);
  std::vector<double> brain(100, 1.5);
  for (std::size_t i = 50; i < 100; ++i) {
    single[i] = static_cast<double>(std::nextafter(1.5F, 0.0F));
    brain[i] = 1.5 - std::ldexp(1.0, -7);
  }
  EXPECT_FALSE(suggest_lr(curve.lrs, single).suggested);
  EXPECT_FALSE(suggest_lr(curve.lrs, brain).suggested);
  // Steps of bfloat16 to and fro, as a frozen network has.
  std::mt19937_64 generator(7);
  std::normal_distribution<double> normal(2.3, 0.02);
  int claims = 0;
  for (int draw = 0; draw < 500; ++draw) {
    std::vector<double> losses(100);
    for (double& loss : losses) loss = normal(generator);
    claims += suggest_lr(curve.lrs, rounded<at::BFloat16>(losses))
                  .suggested.has_value();
  }
  EXPECT_LE(claims, 4 + 6);
}

TEST(SuggestLR, RoundingHidesNoRealFall) {
  const LRPoints curve = crafted_curve(4, 0.02);
  const auto exact = suggest_lr(curve.lrs, curve.losses);
  const auto near = [&](const LRSuggestions& found) {
    ASSERT_TRUE(found.suggested);
    EXPECT_NEAR(std::log10(*found.suggested / *exact.suggested), 0, 0.1);
    EXPECT_NEAR(std::log10(*found.steepest / *exact.steepest), 0, 0.1);
  };
  near(suggest_lr(curve.lrs, rounded<float>(curve.losses)));
  near(suggest_lr(curve.lrs, rounded<at::Half>(curve.losses)));
  near(suggest_lr(curve.lrs, rounded<at::BFloat16>(curve.losses)));
  // Nor does it matter how small a smooth fall is.
  const LRPoints smooth = crafted_curve(0, 0.0);
  std::vector<double> small = smooth.losses;
  for (double& loss : small) loss = 1 + 1e-9 * loss;
  EXPECT_TRUE(suggest_lr(smooth.lrs, small).suggested);
}

LRSuggestions two_rates() {
  LRSuggestions found;
  found.suggested = 0.01;
  found.peak = 0.04;
  return found;
}

TEST(ForSchedule, GoesByTheTimeNearThePeak) {
  const LRSuggestions found = two_rates();
  EXPECT_EQ(found.for_schedule(constant(), 1000), 0.01);
  // A run that starts at its highest rate.
  EXPECT_EQ(found.for_schedule(cosine(1000), 1000), 0.01);
  // Up in 100 updates, down in a line in 900: a tenth of either is high.
  const auto triangle = warmup(100, WarmupShape::kLinear, 0).then(linear(900));
  EXPECT_NEAR(
      *found.for_schedule(triangle, 1000),
      0.04 * std::pow(0.25, 0.1 * 0.1),
      0.04 * 0.001);
  // 0.1 of a warm-up of 50, a level of 750 and 0.1 of a decay of 200.
  EXPECT_NEAR(
      *found.for_schedule(warmup_stable_decay(50, 750, 200), 1000),
      0.04 * std::pow(0.25, 0.775 * 0.775),
      0.04 * 0.003);
}

TEST(ForSchedule, GivesTheBaseThatTheFactorsMultiply) {
  const LRSuggestions found = two_rates();
  const auto high = warmup(500).then(constant(1).limit(500)) * constant(4);
  const auto low = warmup(500).then(constant(1).limit(500));
  EXPECT_DOUBLE_EQ(
      4 * *found.for_schedule(high, 1000), *found.for_schedule(low, 1000));
}

TEST(ForSchedule, RefusesARunWithoutARate) {
  const LRSuggestions found = two_rates();
  EXPECT_FALSE(LRSuggestions().for_schedule(constant(), 10));
  EXPECT_EQ(
      message_of([&] { found.for_schedule(constant(), 0); }),
      "LRSuggestions::for_schedule: updates must be >= 1, got 0");
  EXPECT_EQ(
      message_of([&] { found.for_schedule(constant(0), 10); }),
      "LRSuggestions::for_schedule: the schedule's highest factor must be "
      "> 0, got 0");
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
