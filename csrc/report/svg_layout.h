#pragma once

#include <string>
#include <vector>

#include <stepsize/report/svg.h>
#include "csrc/report/axis.h"
#include "csrc/report/legend.h"
#include "csrc/report/polyline.h"

namespace stepsize::report {

constexpr double kTitleSize = 15;
constexpr double kTextSize = 12;
/// Width of the line sample before a legend name.
constexpr double kSampleWidth = 22;
constexpr double kTickLength = 5;

/// A text with the place of its baseline's start.
struct PlacedText {
  Point at;
  std::string text;
};

struct PlacedEntry {
  PlacedText name;
  LegendEntry entry;
};

/// Where everything but the curves goes.
struct SvgLayout {
  double width;
  double height;
  Box plot;
  Axis x_axis;
  Axis y_axis;
  Ticks x_ticks;
  Ticks y_ticks;
  /// Lines of the title, to be centred on `at.x`.
  std::vector<PlacedText> title;
  std::vector<PlacedEntry> legend;
  /// Says how many names the legend has no room for; empty if it has all.
  PlacedText legend_rest;
  std::vector<PlacedText> mark_labels;
  std::string x_label;
  std::string y_label;
};

SvgLayout lay_out(const LinePlot& plot, const SvgOptions& options);

}  // namespace stepsize::report
