#pragma once

#include <stepsize/state/metric_mode.h>

#include <limits>

namespace stepsize::detail {

/// Whether the metric beats the limit. A NaN beats nothing.
inline bool is_better(MetricMode mode, double metric, double limit) {
  return mode == MetricMode::kMin ? metric < limit : metric > limit;
}

/// The infinity that every finite metric beats.
inline double worst_metric(MetricMode mode) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  return mode == MetricMode::kMin ? kInfinity : -kInfinity;
}

/// "min" or "max", as options have it in texts and archives.
inline const char* text_of(MetricMode mode) {
  return mode == MetricMode::kMin ? "min" : "max";
}

}  // namespace stepsize::detail
