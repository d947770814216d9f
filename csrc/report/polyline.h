#pragma once

#include <vector>

#include <stepsize/report/line_plot.h>
#include "csrc/report/axis.h"

namespace stepsize::report {

/// A place in the picture, in px or characters, y pointing down.
struct Point {
  double x;
  double y;
};

struct Box {
  double left;
  double top;
  double right;
  double bottom;

  bool contains(Point p) const {
    return left <= p.x && p.x <= right && top <= p.y && p.y <= bottom;
  }
};

/// Maps data to places in a box whose lower left corner is (x.lo, y.lo).
class Projection {
 public:
  Projection(const Axis& x, const Axis& y, const Box& box)
      : x_(x), y_(y), box_(box) {}

  double x(double value) const;
  double y(double value) const;
  /// The series' points; both coordinates NaN for one that has no place.
  std::vector<Point> points(const LinePlot::Series& series) const;

 private:
  Axis x_;
  Axis y_;
  Box box_;
};

using Run = std::vector<Point>;

/// Splits the points at NaNs into runs without gaps.
std::vector<Run> split_at_gaps(const std::vector<Point>& points);

/// Keeps, of consecutive points in one unit-wide column of x, the first, the
/// lowest, the highest and the last, in their order.
Run thin_out(const Run& run);

/// The parts of the run inside the box.
std::vector<Run> clip(const Run& run, const Box& box);

/// The visible parts of a curve: gaps, thinning and clipping in one.
std::vector<Run> visible_runs(const std::vector<Point>& points, const Box& box);

/// Of points inside the box, one for each square cell of the given size.
std::vector<Point> visible_dots(
    const std::vector<Point>& points, const Box& box, double cell);

}  // namespace stepsize::report
