#pragma once

#include <cstdint>

namespace stepsize::detail {

/// Where a time lies among cycles of length first, first * stretch, ...
struct CyclePosition {
  double index;   ///< number of whole cycles before, a whole number
  double offset;  ///< time since the cycle began
  double length;  ///< duration of the cycle
};

/// Exact at every boundary for whole first and stretch while times stay below
/// 2^53: boundaries are sums of whole numbers, never logarithms rounded down.
CyclePosition locate_cycle(double t, double first, double stretch);

/// The time at which cycle `index` begins.
double cycle_start(double index, double first, double stretch);

}  // namespace stepsize::detail
