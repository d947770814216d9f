#pragma once

#include <stepsize/schedule/schedule.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace stepsize {

/// A smooth curve through a range test, with its slope.
struct LRCurveFit {
  /// The loss that the fit has at each rate.
  std::vector<double> values;
  /// d loss / d ln lr at each rate.
  std::vector<double> slopes;
  /// Standard error of each slope; infinite where too few points are left.
  std::vector<double> slope_errors;
};

/// A weighted straight line in ln lr through the points around each one: up to
/// `half_width` points to either side, fewer at the ends, with Epanechnikov's
/// weights (Fan and Gijbels, Local Polynomial Modelling and Its Applications,
/// 1996, chapter 3). The window looks both ways, so that nothing is shifted: a
/// moving average puts the steepest point of a usual range test half a decade
/// too far right. Points whose loss is not finite are left out; where none is
/// left in the window, all three are NaN.
///
/// Cost: O(n * half_width). Throws c10::Error unless the rates are finite, > 0
/// and increasing, as many as the losses, and half_width >= 1.
LRCurveFit fit_lr_curve(
    const std::vector<double>& lrs,
    const std::vector<double>& losses,
    int64_t half_width = 10);

/// What a range test's curve says of the rate, each value a learning rate. All
/// are empty where the loss never falls by more than noise and rounding, and
/// where it is lowest at one of the first half_width + 1 points.
struct LRSuggestions {
  /// The constant rate to train with: the geometric mean of the rate where nine
  /// tenths of the fall are done and of `peak`.
  std::optional<double> suggested;
  /// Where the loss has begun to fall: by a tenth of its whole fall.
  std::optional<double> low;
  /// Where the smooth curve is lowest, before it rises by half of its fall and
  /// by more than its noise. A larger rate did not lower the loss.
  std::optional<double> maximal;
  /// The middle, in ln lr, of the curve's floor: of the first and the last
  /// rate, before that rise, whose value is within a standard error of the
  /// lowest. The highest rate of a schedule that warms up and is near its peak
  /// for a small part of the run, as cosine and one-cycle are.
  std::optional<double> peak;
  /// Where the smooth curve falls most steeply in ln lr.
  std::optional<double> steepest;
  /// The rates around `steepest` whose slope is within two standard errors of
  /// the steepest slope: about 95 % confidence for the noise of the losses.
  std::optional<double> steepest_low;
  std::optional<double> steepest_high;

  /// The base rate for a run of `updates` updates with a schedule: the one by
  /// which the schedule's highest factor h gives the rate suggested^w
  /// peak^(1-w). w = q^2, q being the share of the updates whose factor is at
  /// least 0.9 h; w = 1 where the first factor is above h / 2, as a run without
  /// a warm-up meets the highest rate with the weights it starts from. So
  /// constant() gives `suggested`, and a cosine with a warm-up nearly `peak`.
  /// Measured: docs/tuning.md. Empty where there are no suggestions. Throws
  /// c10::Error unless updates >= 1, the factors are finite, one is > 0, and
  /// the result is a number > 0. What the schedule throws passes through.
  std::optional<double> for_schedule(
      const Schedule& schedule, int64_t updates) const;
};

/// The suggestions from rates and raw losses.
///
/// The losses are cut off three times their noise above the height that they
/// start from, so that a divergence does not reach into its neighbours, and
/// fitted by fit_lr_curve(). The lowest value counts as a fall where it is some
/// 3.5 to 4 standard errors below the mean of the first points (a thousandth
/// over the windows tried; docs/tuning.md has what passes of noise alone), and
/// by more than four steps of the numbers that the losses are (those of
/// bfloat16 or float32, where all are such). The noise is that of second
/// differences, in which a straight fall is nothing: the larger of that of the
/// first points and that of those before the lowest.
///
/// It takes half_width + 2 points at the least. Throws as fit_lr_curve() does.
LRSuggestions suggest_lr(
    const std::vector<double>& lrs,
    const std::vector<double>& losses,
    int64_t half_width = 10);

/// The moving average m_i = b m_{i-1} + (1 - b) x_i, divided by 1 - b^i
/// (Kingma and Ba, Adam, 2015, section 3). It lags. Throws c10::Error unless
/// smoothing b lies in [0, 1).
std::vector<double> averaged_losses(
    const std::vector<double>& losses, double smoothing = 0.98);

// What other tools suggest, from rates and averaged losses. Each leaves out
// losses that are not finite, gives nothing where no rule applies, and throws
// as fit_lr_curve() does.

/// fastai's `valley`: within the longest decreasing subsequence of the losses,
/// of length L and ending first, the point at L/3 + L/6 from its start (counted
/// back from its end by L points). O(n log n).
std::optional<double> valley_lr(
    const std::vector<double>& lrs, const std::vector<double>& losses);

/// fastai's `steep`: where the differences of neighbours, d loss / d ln lr,
/// are lowest.
std::optional<double> steep_lr(
    const std::vector<double>& lrs, const std::vector<double>& losses);

/// fastai's `minimum`: a tenth of the rate of the lowest loss.
std::optional<double> minimum_tenth_lr(
    const std::vector<double>& lrs, const std::vector<double>& losses);

}  // namespace stepsize
