#pragma once

#include <stepsize/tune/lr_suggestion.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace stepsize::detail {

/// The curve that suggestions are read off.
struct LRCurve {
  /// Of the losses cut off at the start's height.
  LRCurveFit fit;
  /// The height that the losses start from, and the standard error of a fitted
  /// value at the lowest point.
  double start = 0;
  double lowest_error = 0;
  /// The first index of a finite loss, and one past the last.
  std::size_t first = 0;
  std::size_t end = 0;
  /// Index of the lowest value of the fit before it rises by half of
  /// its fall.
  std::size_t lowest = 0;
  /// One past the last index before that rise.
  std::size_t risen = 0;
  /// The first and the last point before that rise whose value is within a
  /// standard error of the lowest: any of them may be the lowest. Values
  /// between may be higher, where a network was shaken and came to rest
  /// elsewhere.
  std::size_t floor_first = 0;
  std::size_t floor_last = 0;
  /// How many points a local noise is taken from.
  std::size_t noise_reach = 0;
  /// Whether the lowest value is below the start by more than noise and
  /// rounding explain.
  bool falls = false;
  /// Whether no loss differs from another by more than rounding.
  bool is_flat = false;
  /// Whether it is also more than half a window behind the first loss: a fall
  /// over fewer points is the fit's end effect as well as a fall.
  bool suggests = false;
  /// Whether it then is within half a window of the last loss.
  bool falls_to_the_end = false;
};

/// `precision`: the relative step of the type that the losses were computed in,
/// where that is known; the losses themselves show it, if they are no means.
/// Throws as fit_lr_curve() does.
LRCurve lr_curve(
    const std::vector<double>& lrs,
    const std::vector<double>& losses,
    int64_t half_width,
    double precision = 0);

/// suggest_lr() of a curve.
LRSuggestions suggestions_of(
    const LRCurve& curve, const std::vector<double>& lrs, int64_t half_width);

/// Throws c10::Error, naming `function`, unless the rates are finite, > 0 and
/// increasing, and as many as the losses.
void check_lr_curve(
    const char* function,
    const std::vector<double>& lrs,
    const std::vector<double>& losses);

}  // namespace stepsize::detail
