#pragma once

#include <optional>

#include <stepsize/report/line_plot.h>
#include "csrc/report/ticks.h"

namespace stepsize::report {

/// A finite stretch of numbers, linear or logarithmic, mapped to [0, 1].
class Axis {
 public:
  /// Needs lo < hi, both finite, and lo > 0 if log.
  Axis(double lo, double hi, bool log);

  double lo() const { return lo_; }
  double hi() const { return hi_; }

  /// Whether the number has a place at all (perhaps past the ends).
  bool can_draw(double value) const;
  /// 0 at lo, 1 at hi, less or more past the ends; NaN if it has no place.
  double fraction(double value) const;
  bool contains(double value) const;

  Ticks ticks(int max_count) const;

 private:
  double lo_;
  double hi_;
  bool log_;
  double from_;
  double span_;
};

/// The plot's axes: the range that was asked for, else the smallest and largest
/// drawable value, widened by `margin` (part of the whole) on both sides. The
/// y axis heeds only points within the x axis.
Axis make_x_axis(const LinePlot& plot, double margin);
Axis make_y_axis(const LinePlot& plot, const Axis& x_axis, double margin);

}  // namespace stepsize::report
