#pragma once

#include <stepsize/lr_scheduler/reduce_lr_on_plateau.h>
#include <stepsize/state/metric_mode.h>

#include <cmath>

namespace stepsize::detail {

inline const char* text_of(ThresholdMode mode) {
  switch (mode) {
    case ThresholdMode::kAbs:
      return "abs";
    case ThresholdMode::kPythonRel:
      return "python_rel";
    case ThresholdMode::kRel:
      break;
  }
  return "rel";
}

/// What a metric must beat to count as better than the best one.
inline double metric_limit(
    MetricMode mode,
    ThresholdMode threshold_mode,
    double threshold,
    double best) {
  // An infinite best has no margin (and times 0 would be a NaN).
  if (!std::isfinite(best)) return best;
  const double margin = mode == MetricMode::kMin ? -threshold : threshold;
  switch (threshold_mode) {
    case ThresholdMode::kAbs:
      return best + margin;
    case ThresholdMode::kPythonRel:
      return best * (1.0 + margin);
    case ThresholdMode::kRel:
      break;
  }
  // best + margin |best|, rounded as Python rounds it.
  return best * (1.0 + std::copysign(1.0, best) * margin);
}

}  // namespace stepsize::detail
