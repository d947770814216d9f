#include "csrc/tune/lr_conclusion.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "csrc/text/number.h"
#include "csrc/tune/lr_curve.h"
#include "csrc/tune/lr_range_options.h"

namespace stepsize::detail {
namespace {

bool ended_by_itself(LRRangeStatus status) {
  return status == LRRangeStatus::kDiverged ||
         status == LRRangeStatus::kNonFinite;
}

// Why there is no suggestion, and what to do.
std::string why_none(
    const LRCurve& curve,
    const LRRangeTestResult& result,
    const LRRangeTestOptions& options) {
  const LRRangeStatus status = result.status;
  // With a validation this is the training loss too: the other is not asked for
  // where it is not finite.
  if (result.losses.size() == 1 && !std::isfinite(result.losses[0])) {
    return options.validation()
               ? "that was at the first update: look at the parameters, the "
                 "model and its data"
               : "that was before the first update: look at the parameters, "
                 "the model and its data";
  }
  // Twice that is to be a number, too.
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max() / 2;
  const int64_t least = std::min(half_width_of(options), kMost - 2) + 2;
  if (options.num_iterations() < least) {
    return "too few points for a suggestion, which takes " +
           std::to_string(least) + " at least: raise num_iterations";
  }
  // A window's width: whatever the noise, so few points are no curve.
  const bool early = static_cast<int64_t>(curve.end - curve.first) <= 2 * least;
  if (ended_by_itself(status) && early) {
    return "there are too few points before it: lower start_lr";
  }
  if (curve.falls) {
    return "the loss was lowest at the first rates: lower start_lr";
  }
  if (curve.is_flat && ended_by_itself(status)) {
    return "no rate before had changed the loss by more than rounding: look "
           "whether it depends on the parameters";
  }
  if (curve.is_flat && status == LRRangeStatus::kFinished) {
    return "no rate changed the loss by more than rounding: raise end_lr, or "
           "look whether the loss depends on the parameters";
  }
  if (status == LRRangeStatus::kStopped) {
    return "the loss had not fallen by then";
  }
  const std::string more =
      "num_iterations, or average more data in an iteration";
  if (ended_by_itself(status)) {
    return "the loss had not fallen before by more than its noise: raise " +
           more;
  }
  return "none lowered the loss by more than its noise: raise end_lr or " +
         more;
}

// fastai's rules, on the part of the curve that fastai looks at.
void add_other_rules(LRRangeTestResult& result) {
  const std::size_t first = result.lrs.size() / 10;
  constexpr std::size_t kLeftOut = 5;
  if (result.lrs.size() <= first + kLeftOut) return;
  const auto part = [first](const std::vector<double>& values) {
    return std::vector<double>(
        values.begin() + static_cast<std::ptrdiff_t>(first),
        values.end() - static_cast<std::ptrdiff_t>(kLeftOut));
  };
  const auto lrs = part(result.lrs);
  const auto averaged = part(result.averaged);
  result.valley = valley_lr(lrs, averaged);
  result.steep = steep_lr(lrs, averaged);
  result.minimum_tenth = minimum_tenth_lr(lrs, averaged);
}

// True where it changed one.
bool cap(LRSuggestions& suggestions, double highest) {
  bool changed = false;
  for (auto* rate : {&suggestions.suggested, &suggestions.peak}) {
    if (!*rate || **rate <= highest) continue;
    *rate = highest;
    changed = true;
  }
  return changed;
}

}  // namespace

void conclude(
    LRRangeTestResult& result,
    const LRRangeTestOptions& options,
    double precision,
    std::optional<double> highest_stable) {
  const int64_t half_width = half_width_of(options);
  const LRCurve curve =
      lr_curve(result.lrs, result.losses, half_width, precision);
  result.smoothed = curve.fit.values;
  result.averaged = averaged_losses(result.losses, options.smoothing());
  result.suggestions = suggestions_of(curve, result.lrs, half_width);
  const bool finished = result.status == LRRangeStatus::kFinished;
  if (finished) result.reason = "all rates were tried";
  result.still_falling =
      curve.falls_to_the_end && !ended_by_itself(result.status);
  if (!curve.suggests) {
    result.reason += "; " + why_none(curve, result, options);
  } else if (result.still_falling) {
    result.reason +=
        finished ? "; the loss was still falling at the largest: raise end_lr"
                 : "; the loss was still falling";
  }
  if (highest_stable && cap(result.suggestions, *highest_stable)) {
    result.reason += "; the suggestions end at the limit of stability, " +
                     short_number_text(*highest_stable);
  }
  if (finished && !curve.falls) result.status = LRRangeStatus::kNoDescent;
  if (curve.falls) add_other_rules(result);
}

}  // namespace stepsize::detail
