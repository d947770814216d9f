#include <stepsize/tune/lr_suggestion.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "csrc/core/check.h"
#include "csrc/text/number.h"
#include "csrc/tune/lr_curve.h"

namespace stepsize {
namespace {

// The fall has begun where a tenth of it is done, and is all but done where
// nine tenths are.
constexpr double kBegun = 0.1;
constexpr double kDone = 0.9;
// A slope within this many standard errors of the steepest may be it.
constexpr double kBand = 2;

// A factor counts as high from this share of the highest on, and a schedule
// warms up where it starts below that one.
constexpr double kHigh = 0.9;
constexpr double kLowStart = 0.5;
// A schedule is looked at in so many places, or at every update of a shorter
// run.
constexpr int64_t kMostPlaces = 10000;

// Throws unless all factors are numbers that a rate can be multiplied by.
std::vector<double> factors_of(
    const char* function, const Schedule& schedule, int64_t updates) {
  const int64_t places = std::min(updates, kMostPlaces);
  std::vector<double> factors;
  factors.reserve(static_cast<std::size_t>(places));
  for (int64_t i = 0; i < places; ++i) {
    const int64_t update =
        i * (updates / places) + i * (updates % places) / places;
    const double factor = schedule(static_cast<double>(update));
    detail::check_option(
        std::isfinite(factor),
        function,
        "the factor at update " + std::to_string(update),
        "finite",
        factor);
    factors.push_back(factor);
  }
  return factors;
}

// How far the rate goes from `peak` towards `suggested`.
double weight_of_constant(const std::vector<double>& factors, double highest) {
  if (factors.front() > kLowStart * highest) return 1;
  const auto high =
      std::count_if(factors.begin(), factors.end(), [highest](double factor) {
        return factor >= kHigh * highest;
      });
  const double share =
      static_cast<double>(high) / static_cast<double>(factors.size());
  return share * share;
}

}  // namespace

std::optional<double> LRSuggestions::for_schedule(
    const Schedule& schedule, int64_t updates) const {
  constexpr char kName[] = "LRSuggestions::for_schedule";
  detail::check_option(updates >= 1, kName, "updates", ">= 1", updates);
  const auto factors = factors_of(kName, schedule, updates);
  const double highest = *std::max_element(factors.begin(), factors.end());
  detail::check_option(
      highest > 0, kName, "the schedule's highest factor", "> 0", highest);
  if (!suggested) return std::nullopt;
  const double weight = weight_of_constant(factors, highest);
  // Of a constant schedule exactly what `suggested` is.
  const double rate = weight == 1 || !peak
                          ? *suggested
                          : *peak * std::pow(*suggested / *peak, weight);
  const double base = rate / highest;
  detail::check_option(
      std::isfinite(base) && base > 0,
      kName,
      "the base rate, " + detail::number_text(rate) +
          " over the highest factor",
      "finite and > 0",
      base);
  return base;
}

LRSuggestions detail::suggestions_of(
    const LRCurve& curve, const std::vector<double>& lrs, int64_t half_width) {
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
  found.peak =
      std::sqrt(lrs[curve.floor_first]) * std::sqrt(lrs[curve.floor_last]);
  std::size_t done = 0;
  const double enough_fall =
      curve.start - kDone * (curve.start - values[curve.lowest]);
  while (done < curve.floor_first && !(values[done] <= enough_fall)) ++done;
  found.suggested = std::sqrt(lrs[done]) * std::sqrt(*found.peak);
  return found;
}

LRSuggestions suggest_lr(
    const std::vector<double>& lrs,
    const std::vector<double>& losses,
    int64_t half_width) {
  return detail::suggestions_of(
      detail::lr_curve(lrs, losses, half_width), lrs, half_width);
}

}  // namespace stepsize
