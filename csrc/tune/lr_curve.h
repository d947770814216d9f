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
  /// The height that the losses start from.
  double start = 0;
  /// Index of the lowest value of the fit before it rises by half its fall.
  std::size_t lowest = 0;
  /// One past the last index before that rise.
  std::size_t risen = 0;
  /// Whether the lowest value is below the start by more than the noise.
  bool falls = false;
};

/// Throws as fit_lr_curve() does.
LRCurve lr_curve(
    const std::vector<double>& lrs,
    const std::vector<double>& losses,
    int64_t half_width);

/// The standard deviation of what jumps from point to point: from the median of
/// the differences of neighbours, so that neither a trend nor a few wild points
/// count. 0 for fewer than two points; those that are not finite are left out.
double noise_of(const std::vector<double>& losses);

/// The height that a curve starts from: the median of its first points, a
/// twentieth of all `planned` ones and three at least.
double start_height(const std::vector<double>& losses, std::size_t planned);

/// How many points start_height() looks at.
std::size_t start_points(std::size_t planned);

/// Throws c10::Error, naming `function`, unless the rates are finite, > 0 and
/// increasing, and as many as the losses.
void check_lr_curve(
    const char* function,
    const std::vector<double>& lrs,
    const std::vector<double>& losses);

}  // namespace stepsize::detail
