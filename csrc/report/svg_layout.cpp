#include "csrc/report/svg_layout.h"

#include <algorithm>
#include <functional>

#include "csrc/report/text.h"

namespace stepsize::report {
namespace {

constexpr double kEdge = 8;
constexpr double kTitleLine = 19;
constexpr double kLegendLine = 18;
constexpr double kMarkLine = 15;
constexpr double kLegendGap = 18;
constexpr double kTickGap = 4;
constexpr double kAxisMargin = 0.03;

double tick_width(const std::string& label) {
  // Digits, which tick labels consist of, take less than the upper estimate of
  // sans_serif_em in every common face.
  return 0.62 * kTextSize * static_cast<double>(label.size());
}

double widest(const Ticks& ticks) {
  double width = 0;
  for (const Tick& tick : ticks.major) {
    width = std::max(width, tick_width(tick.label));
  }
  return width;
}

/// The densest ticks whose labels keep `gap` apart along `length` px.
Ticks fitting_ticks(
    const Axis& axis,
    int max_count,
    double length,
    double gap,
    const std::function<double(const Tick&)>& extent) {
  for (int count = max_count; count > 2; --count) {
    Ticks ticks = axis.ticks(count);
    bool fits = true;
    for (size_t i = 1; i < ticks.major.size(); ++i) {
      const Tick& a = ticks.major[i - 1];
      const Tick& b = ticks.major[i];
      const double distance =
          (axis.fraction(b.value) - axis.fraction(a.value)) * length;
      fits = fits && distance >= (extent(a) + extent(b)) / 2 + gap;
    }
    if (fits) return ticks;
  }
  return axis.ticks(2);
}

void add_title(const LinePlot& plot, SvgLayout& layout, double& top) {
  // Bold is about a tenth wider than the regular face.
  const Measure measure = sans_serif_measure(1.1 * kTitleSize);
  const int max_lines =
      std::clamp(static_cast<int>(0.2 * layout.height / kTitleLine), 1, 3);
  for (std::string& line :
       wrap(plot.title(), layout.width - 2 * kEdge, max_lines, measure)) {
    layout.title.push_back(
        {{layout.width / 2, top + kTitleSize}, std::move(line)});
    top += kTitleLine;
  }
  if (!layout.title.empty()) top += 4;
}

void add_legend(const LinePlot& plot, SvgLayout& layout, double& top) {
  const Measure measure = sans_serif_measure(kTextSize);
  const double left = layout.plot.left;
  const double row_width = layout.width - kEdge - left;
  const double rest_width = measure(U"+ 1000 more");
  const int max_rows =
      std::max(1, static_cast<int>(0.25 * layout.height / kLegendLine));

  std::vector<LegendEntry> entries = legend_entries(plot);
  std::vector<double> widths;
  for (LegendEntry& entry : entries) {
    entry.name = shorten(entry.name, row_width - kSampleWidth - 6, measure);
    widths.push_back(kSampleWidth + 6 + measure(decode_utf8(entry.name)));
  }
  std::vector<Slot> slots = flow(widths, kLegendGap, row_width);
  size_t shown = entries.size();
  if (!slots.empty() && slots.back().row >= max_rows) {
    const auto has_room = [&](size_t i) {
      return slots[i].row < max_rows - 1 ||
             (slots[i].row == max_rows - 1 &&
              slots[i].left + widths[i] + kLegendGap + rest_width <= row_width);
    };
    while (shown > 0 && !has_room(shown - 1)) --shown;
  }
  const auto baseline = [&](int row) { return top + 13 + row * kLegendLine; };
  for (size_t i = 0; i < shown; ++i) {
    layout.legend.push_back(
        {{{left + slots[i].left + kSampleWidth + 6, baseline(slots[i].row)},
          entries[i].name},
         entries[i]});
  }
  if (entries.empty()) return;
  int rows = shown == 0 ? 1 : slots[shown - 1].row + 1;
  if (shown < entries.size()) {
    double at = 0;
    if (shown > 0 && slots[shown].row > rows - 1 && rows < max_rows) {
      ++rows;
    } else if (shown > 0) {
      at = slots[shown - 1].left + widths[shown - 1] + kLegendGap;
    }
    layout.legend_rest = {
        {left + at, baseline(rows - 1)},
        "+ " + std::to_string(entries.size() - shown) + " more"};
  }
  top += rows * kLegendLine + 4;
}

void add_mark_labels(const LinePlot& plot, SvgLayout& layout, double& top) {
  const Measure measure = sans_serif_measure(kTextSize);
  const Projection projection(layout.x_axis, layout.y_axis, layout.plot);
  std::vector<std::string> labels;
  std::vector<double> centers;
  std::vector<double> widths;
  for (const auto& mark : plot.marks()) {
    if (mark.label.empty() || !layout.x_axis.contains(mark.x)) continue;
    labels.push_back(
        shorten(mark.label, layout.plot.right - layout.plot.left, measure));
    centers.push_back(projection.x(mark.x));
    widths.push_back(measure(decode_utf8(labels.back())));
  }
  if (labels.empty()) return;
  const std::vector<Slot> slots =
      stack_labels(centers, widths, 8, layout.plot.left, layout.width - kEdge);
  // Labels past the last row are left out rather than drawn over others; their
  // lines stay.
  const int max_rows =
      std::max(1, static_cast<int>(0.2 * layout.height / kMarkLine));
  int rows = 0;
  for (const Slot& slot : slots) rows = std::max(rows, slot.row + 1);
  rows = std::min(rows, max_rows);
  for (size_t i = 0; i < slots.size(); ++i) {
    if (slots[i].row >= rows) continue;
    // The estimated width is an upper one: centring inside it keeps the text
    // over its mark.
    layout.mark_labels.push_back(
        {{slots[i].left + widths[i] / 2,
          top + 12 + (rows - 1 - slots[i].row) * kMarkLine},
         labels[i]});
  }
  top += rows * kMarkLine + 4;
}

}  // namespace

SvgLayout lay_out(const LinePlot& plot, const SvgOptions& options) {
  const Axis x_axis = make_x_axis(plot, kAxisMargin);
  const Axis y_axis = make_y_axis(plot, x_axis, kAxisMargin);
  SvgLayout layout{
      static_cast<double>(options.width()),
      static_cast<double>(options.height()),
      Box{},
      x_axis,
      y_axis,
      {},
      {},
      {},
      {},
      {},
      {},
      {},
      {}};
  double top = kEdge;
  add_title(plot, layout, top);

  const double under_ticks =
      kTickLength + kTickGap + kTextSize + (plot.x_label().empty() ? 4 : 24);
  layout.plot.bottom = layout.height - under_ticks;
  const double y_label_width = plot.y_label().empty() ? 0 : kTextSize + 8;
  // Ticks want the final size of the curve area, which wants the ticks' widths:
  // the size so far is a little larger, and close enough to count them by.
  const double rough_height = layout.plot.bottom - top;
  layout.y_ticks = fitting_ticks(
      y_axis,
      std::clamp(static_cast<int>(rough_height / 38), 3, 12),
      0.75 * rough_height,
      4,
      [](const Tick&) { return kTextSize; });
  layout.plot.left =
      kEdge + y_label_width + widest(layout.y_ticks) + kTickGap + kTickLength;
  layout.plot.left = std::min(layout.plot.left, layout.width - 80);

  const auto x_tick_extent = [](const Tick& tick) {
    return tick_width(tick.label);
  };
  const auto fit_x_ticks = [&](double right) {
    const double length = right - layout.plot.left;
    return fitting_ticks(
        x_axis,
        std::clamp(static_cast<int>(length / 62), 4, 16),
        length,
        12,
        x_tick_extent);
  };
  layout.plot.right = layout.width - 2 * kEdge;
  layout.x_ticks = fit_x_ticks(layout.plot.right);
  if (!layout.x_ticks.major.empty()) {
    const Tick& last = layout.x_ticks.major.back();
    layout.plot.right = std::min(
        layout.plot.right,
        layout.width - kEdge / 2 - tick_width(last.label) / 2);
    layout.x_ticks = fit_x_ticks(layout.plot.right);
  }

  add_legend(plot, layout, top);
  add_mark_labels(plot, layout, top);
  layout.plot.top = std::min(top + 4, layout.plot.bottom - 24);

  const Measure measure = sans_serif_measure(kTextSize);
  layout.x_label =
      shorten(plot.x_label(), layout.plot.right - layout.plot.left, measure);
  layout.y_label = shorten(
      plot.y_label(), layout.plot.bottom - layout.plot.top + 20, measure);
  return layout;
}

}  // namespace stepsize::report
