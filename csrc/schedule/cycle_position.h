#pragma once

#include <cstdint>

namespace stepsize::detail {

/// How cycles lose height above a level that stays: of one decay or the other,
/// whichever is below 1, `factor` to the power of the cycle's index is left of
/// the peak, or of the height above the level.
class CycleDecay {
 public:
  CycleDecay(double peak_decay, double height_decay, double level);

  /// Where a peak of 1 stands in cycle `index`; never below the level.
  double peak(double index) const;
  /// What is left of the height above the level in cycle `index`; in [0, 1].
  double height(double index) const;

  double factor() const { return factor_; }
  double level() const { return level_; }
  /// What the text form says before the level.
  const char* keyword() const { return of_height_ ? "above" : "to"; }

  friend bool operator==(const CycleDecay& a, const CycleDecay& b) {
    return a.factor_ == b.factor_ && a.level_ == b.level_ &&
           a.of_height_ == b.of_height_;
  }

 private:
  double factor_;
  double level_;
  bool of_height_;
};

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
