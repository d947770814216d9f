#pragma once

#include <stepsize/lr_scheduler/reduce_lr_on_plateau.h>

#include <algorithm>
#include <cstdint>

#include "csrc/lr_scheduler/metric_limit.h"
#include "csrc/state/metric_order.h"

namespace stepsize::detail {

/// What is known of the metrics so far.
struct PlateauCounters {
  double best;
  int64_t bad = 0;
  int64_t cooldown = 0;
};

/// Takes a metric into account; whether it is the one that makes a plateau.
inline bool finds_plateau(
    const ReduceLROnPlateauOptions& options,
    double metric,
    PlateauCounters& counters) {
  const double limit = metric_limit(
      options.mode(),
      options.threshold_mode(),
      options.threshold(),
      counters.best);
  const bool better = is_better(options.mode(), metric, limit);
  counters.bad = better ? 0 : counters.bad + 1;
  if (counters.cooldown > 0) {
    --counters.cooldown;
    counters.bad = 0;
  }
  if (better) counters.best = metric;
  if (counters.bad <= options.patience()) return false;
  counters.cooldown = options.cooldown();
  counters.bad = 0;
  return true;
}

/// A group's rate after a cut.
inline double cut_lr(
    const ReduceLROnPlateauOptions& options, int64_t group, double lr) {
  const double cut = std::max(lr * options.factor(), options.min_lr()[group]);
  return lr - cut > options.eps() ? cut : lr;
}

}  // namespace stepsize::detail
