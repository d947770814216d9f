#include <stepsize/tune/lr_suggestion.h>

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "csrc/tune/lr_curve.h"
#include "csrc/tune/lr_floor.h"

namespace stepsize {
namespace {

// The fall has begun where a tenth of it is done.
constexpr double kBegun = 0.1;
// A slope within this many standard errors of the steepest may be it.
constexpr double kBand = 2;

}  // namespace

LRSuggestions suggest_lr(
    const std::vector<double>& lrs,
    const std::vector<double>& losses,
    int64_t half_width) {
  const detail::LRCurve curve = detail::lr_curve(lrs, losses, half_width);
  LRSuggestions found;
  if (!curve.suggests) return found;
  const auto& values = curve.fit.values;
  const auto& slopes = curve.fit.slopes;

  // At the ends a slope has half its points, and many times the noise.
  const std::size_t margin = static_cast<std::size_t>(half_width) / 2;
  const std::size_t last = std::min(curve.lowest, curve.end - 1 - margin);
  std::size_t steepest = lrs.size();
  double slope = 0;
  for (std::size_t i = curve.first + margin; i <= last; ++i) {
    if (slopes[i] < slope) {
      steepest = i;
      slope = slopes[i];
    }
  }
  if (steepest == lrs.size()) return found;
  const double enough = slope + kBand * curve.fit.slope_errors[steepest];
  std::size_t from = steepest;
  while (from > 0 && slopes[from - 1] <= enough) --from;
  std::size_t to = steepest;
  while (to + 1 < slopes.size() && slopes[to + 1] <= enough) ++to;

  std::size_t begun = steepest;
  const double top =
      curve.start - kBegun * (curve.start - values[curve.lowest]);
  while (begun > 0 && values[begun - 1] < top) --begun;

  found.steepest = lrs[steepest];
  found.steepest_low = lrs[from];
  found.steepest_high = lrs[to];
  found.low = lrs[begun];
  found.maximal = lrs[curve.lowest];
  found.peak = lrs[std::max(curve.lowest, detail::floor_end(losses, curve))];
  found.suggested = std::sqrt(lrs[steepest] * lrs[curve.lowest]);
  return found;
}

}  // namespace stepsize
