#include "csrc/report/polyline.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <utility>

namespace stepsize::report {
namespace {

// Far outside of any picture, and small enough for products not to overflow.
constexpr double kFar = 1e7;

double place(double fraction, double from, double to) {
  if (std::isnan(fraction)) return fraction;
  const double at = from + fraction * (to - from);
  if (fraction < 0 || fraction > 1) return std::clamp(at, -kFar, kFar);
  // Rounding must not put the end of an axis outside of its box.
  return std::clamp(at, std::min(from, to), std::max(from, to));
}

/// The part of the segment a-b inside the box (Liang and Barsky, 1984).
std::optional<std::pair<Point, Point>> clip_segment(
    Point a, Point b, const Box& box) {
  const double dx = b.x - a.x;
  const double dy = b.y - a.y;
  double enter = 0;
  double leave = 1;
  const std::pair<double, double> edges[] = {
      {-dx, a.x - box.left},
      {dx, box.right - a.x},
      {-dy, a.y - box.top},
      {dy, box.bottom - a.y}};
  for (const auto& [direction, distance] : edges) {
    if (direction == 0) {
      if (distance < 0) return std::nullopt;
    } else if (direction < 0) {
      enter = std::max(enter, distance / direction);
    } else {
      leave = std::min(leave, distance / direction);
    }
  }
  if (enter > leave) return std::nullopt;
  const auto at = [&](double t) { return Point{a.x + t * dx, a.y + t * dy}; };
  // The ends themselves, bit for bit, where nothing was cut.
  return std::make_pair(enter == 0 ? a : at(enter), leave == 1 ? b : at(leave));
}

}  // namespace

double Projection::x(double value) const {
  return place(x_.fraction(value), box_.left, box_.right);
}

double Projection::y(double value) const {
  return place(y_.fraction(value), box_.bottom, box_.top);
}

std::vector<Point> Projection::points(const LinePlot::Series& series) const {
  constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
  std::vector<Point> result;
  result.reserve(series.x.size());
  for (size_t i = 0; i < series.x.size(); ++i) {
    const Point p{x(series.x[i]), y(series.y[i])};
    const bool gap = std::isnan(p.x) || std::isnan(p.y);
    result.push_back(gap ? Point{kNaN, kNaN} : p);
  }
  return result;
}

std::vector<Run> split_at_gaps(const std::vector<Point>& points) {
  std::vector<Run> runs;
  bool open = false;
  for (const Point& p : points) {
    if (std::isnan(p.x)) {
      open = false;
      continue;
    }
    if (!open) runs.emplace_back();
    open = true;
    runs.back().push_back(p);
  }
  return runs;
}

Run thin_out(const Run& run) {
  Run result;
  size_t begin = 0;
  while (begin < run.size()) {
    const double column = std::floor(run[begin].x);
    size_t low = begin;
    size_t high = begin;
    size_t end = begin + 1;
    for (; end < run.size() && std::floor(run[end].x) == column; ++end) {
      if (run[end].y < run[low].y) low = end;
      if (run[end].y > run[high].y) high = end;
    }
    size_t previous = begin;
    result.push_back(run[begin]);
    for (const size_t i : {std::min(low, high), std::max(low, high), end - 1}) {
      if (i > previous) result.push_back(run[i]);
      previous = std::max(previous, i);
    }
    begin = end;
  }
  return result;
}

std::vector<Run> clip(const Run& run, const Box& box) {
  std::vector<Run> parts;
  if (run.size() == 1) {
    if (box.contains(run[0])) parts.push_back(run);
    return parts;
  }
  bool open = false;
  for (size_t i = 1; i < run.size(); ++i) {
    const auto piece = clip_segment(run[i - 1], run[i], box);
    if (!piece) {
      open = false;
      continue;
    }
    if (!open) parts.push_back({piece->first});
    parts.back().push_back(piece->second);
    open = box.contains(run[i]);
  }
  return parts;
}

std::vector<Run> visible_runs(
    const std::vector<Point>& points, const Box& box) {
  std::vector<Run> result;
  for (const Run& run : split_at_gaps(points)) {
    for (Run& part : clip(thin_out(run), box)) {
      result.push_back(std::move(part));
    }
  }
  return result;
}

std::vector<Point> visible_dots(
    const std::vector<Point>& points, const Box& box, double cell) {
  std::vector<Point> result;
  std::set<std::pair<int64_t, int64_t>> taken;
  for (const Point& p : points) {
    if (std::isnan(p.x) || !box.contains(p)) continue;
    const auto column = static_cast<int64_t>(std::floor(p.x / cell));
    const auto row = static_cast<int64_t>(std::floor(p.y / cell));
    if (taken.emplace(column, row).second) result.push_back(p);
  }
  return result;
}

}  // namespace stepsize::report
