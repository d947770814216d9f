#include "csrc/report/legend.h"

#include <algorithm>
#include <map>
#include <numeric>

namespace stepsize::report {

std::vector<size_t> series_styles(const LinePlot& plot) {
  std::vector<size_t> styles;
  std::map<std::string, size_t> by_name;
  size_t next = 0;
  for (const auto& series : plot.series()) {
    if (series.name.empty()) {
      styles.push_back(next++);
      continue;
    }
    const auto [entry, is_new] = by_name.emplace(series.name, next);
    if (is_new) ++next;
    styles.push_back(entry->second);
  }
  return styles;
}

std::vector<LegendEntry> legend_entries(const LinePlot& plot) {
  const std::vector<size_t> styles = series_styles(plot);
  std::vector<LegendEntry> entries;
  for (size_t i = 0; i < styles.size(); ++i) {
    const auto& series = plot.series()[i];
    if (series.name.empty()) continue;
    const size_t style = styles[i];
    auto entry = std::find_if(
        entries.begin(), entries.end(), [style](const LegendEntry& e) {
          return e.style == style;
        });
    if (entry == entries.end()) {
      entries.push_back({style, series.name, false, false});
      entry = entries.end() - 1;
    }
    const bool is_line = series.style == LinePlot::Style::kLine;
    (is_line ? entry->has_line : entry->has_points) = true;
  }
  return entries;
}

std::vector<Slot> flow(
    const std::vector<double>& widths, double gap, double row_width) {
  std::vector<Slot> slots;
  double left = 0;
  int row = 0;
  for (const double width : widths) {
    if (left > 0 && left + width > row_width) {
      left = 0;
      ++row;
    }
    slots.push_back({left, row});
    left += width + gap;
  }
  return slots;
}

std::vector<Slot> stack_labels(
    const std::vector<double>& centers,
    const std::vector<double>& widths,
    double gap,
    double left,
    double right) {
  std::vector<size_t> order(centers.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return centers[a] < centers[b];
  });
  std::vector<Slot> slots(centers.size());
  std::vector<double> row_ends;
  for (const size_t i : order) {
    const double start =
        std::max(left, std::min(centers[i] - widths[i] / 2, right - widths[i]));
    auto row = std::find_if(row_ends.begin(), row_ends.end(), [&](double end) {
      return end + gap <= start;
    });
    if (row == row_ends.end()) row = row_ends.insert(row, start);
    *row = start + widths[i];
    slots[i] = {start, static_cast<int>(row - row_ends.begin())};
  }
  return slots;
}

}  // namespace stepsize::report
