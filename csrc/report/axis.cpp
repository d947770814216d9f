#include "csrc/report/axis.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace stepsize::report {
namespace {

// Beyond these a difference could overflow, or a tick step be subnormal.
constexpr double kLargest = 1e300;
constexpr double kSmallest = 1e-290;
// A range this much smaller than its values is drawn as one value: its ticks
// would need more digits than a label has room for.
constexpr double kRelativeSpan = 1e-9;

bool has_place(double value, bool log) {
  return std::isfinite(value) && (!log || value > 0);
}

class Extent {
 public:
  explicit Extent(bool log) : log_(log) {}

  void add(double value) {
    if (!has_place(value, log_)) return;
    lo_ = std::min(lo_, value);
    hi_ = std::max(hi_, value);
  }

  Axis widen(double margin) const {
    if (!(lo_ <= hi_)) return log_ ? Axis(1, 10, true) : Axis(0, 1, false);
    return log_ ? widen_log(margin) : widen_linear(margin);
  }

 private:
  Axis widen_linear(double margin) const {
    double lo = std::clamp(lo_, -kLargest, kLargest);
    double hi = std::clamp(hi_, -kLargest, kLargest);
    const double size = std::max(std::abs(lo), std::abs(hi));
    double pad = margin * (hi - lo);
    if (size < kSmallest) {
      pad = 1;
    } else if (hi - lo <= kRelativeSpan * size) {
      pad = 0.1 * size;
    }
    return Axis(lo - pad, hi + pad, false);
  }

  Axis widen_log(double margin) const {
    const double lo = std::clamp(lo_, kSmallest, kLargest);
    const double hi = std::clamp(hi_, kSmallest, kLargest);
    const double decades = std::log10(hi) - std::log10(lo);
    const double pad = decades <= kRelativeSpan ? 0.5 : margin * decades;
    const double factor = std::pow(10.0, pad);
    return Axis(
        std::max(lo / factor, kSmallest / 10),
        std::min(hi * factor, kLargest * 10),
        true);
  }

  bool log_;
  double lo_ = std::numeric_limits<double>::infinity();
  double hi_ = -std::numeric_limits<double>::infinity();
};

Axis from_range(const LinePlot::Range& range, bool log) {
  double lo = std::clamp(range.first, -kLargest, kLargest);
  double hi = std::clamp(range.second, -kLargest, kLargest);
  if (log) {
    lo = std::max(lo, kSmallest);
    hi = std::max(hi, kSmallest);
  }
  const double least =
      std::max(1e-13 * std::max(std::abs(lo), std::abs(hi)), kSmallest);
  if (hi - lo < least) {
    hi = lo + 10 * least;
  }
  return Axis(lo, hi, log);
}

}  // namespace

Axis::Axis(double lo, double hi, bool log)
    : lo_(lo),
      hi_(hi),
      log_(log),
      from_(log ? std::log10(lo) : lo),
      span_((log ? std::log10(hi) : hi) - from_) {}

bool Axis::can_draw(double value) const { return has_place(value, log_); }

double Axis::fraction(double value) const {
  if (!can_draw(value)) return std::numeric_limits<double>::quiet_NaN();
  return ((log_ ? std::log10(value) : value) - from_) / span_;
}

bool Axis::contains(double value) const {
  return can_draw(value) && lo_ <= value && value <= hi_;
}

Ticks Axis::ticks(int max_count) const {
  return log_ ? log_ticks(lo_, hi_, max_count)
              : linear_ticks(lo_, hi_, max_count);
}

Axis make_x_axis(const LinePlot& plot, double margin) {
  if (plot.x_range()) return from_range(*plot.x_range(), plot.is_x_log());
  Extent extent(plot.is_x_log());
  for (const auto& series : plot.series()) {
    for (const double x : series.x) extent.add(x);
  }
  for (const auto& mark : plot.marks()) extent.add(mark.x);
  return extent.widen(margin);
}

Axis make_y_axis(const LinePlot& plot, const Axis& x_axis, double margin) {
  if (plot.y_range()) return from_range(*plot.y_range(), plot.is_y_log());
  Extent extent(plot.is_y_log());
  for (const auto& series : plot.series()) {
    for (size_t i = 0; i < series.y.size(); ++i) {
      if (x_axis.contains(series.x[i])) extent.add(series.y[i]);
    }
  }
  return extent.widen(margin);
}

}  // namespace stepsize::report
