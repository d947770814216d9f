#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <stepsize/report/line_plot.h>

namespace stepsize::report {

/// One name of the legend and what is drawn under it.
struct LegendEntry {
  size_t style;
  std::string name;
  bool has_line;
  bool has_points;
};

/// A number for the looks of each series, in their order: 0, 1, 2..., the same
/// for series that share a non-empty name.
std::vector<size_t> series_styles(const LinePlot& plot);

/// One entry for every non-empty name, in order of first appearance.
std::vector<LegendEntry> legend_entries(const LinePlot& plot);

/// Where a stretch of text begins, and in which row.
struct Slot {
  double left;
  int row;
};

/// Sets items of the given widths side by side, in as many rows as it takes.
std::vector<Slot> flow(
    const std::vector<double>& widths, double gap, double row_width);

/// Centres labels at given places within [left, right], each in the lowest row
/// (0) where it overlaps none before it.
std::vector<Slot> stack_labels(
    const std::vector<double>& centers,
    const std::vector<double>& widths,
    double gap,
    double left,
    double right);

}  // namespace stepsize::report
