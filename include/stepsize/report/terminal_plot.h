#pragma once

#include <cstdint>
#include <string>

#include <stepsize/report/line_plot.h>

namespace stepsize {

/// Size and alphabet of a plot made of characters.
class TerminalPlotOptions {
 public:
  /// Columns of the whole text, from 40 to 500, else std::invalid_argument.
  TerminalPlotOptions& width(int64_t columns);
  /// Rows of the curve area (title, axis and legend come on top), from 4 to
  /// 200, else std::invalid_argument. With the default of 16 a plot with one
  /// legend row fits a terminal of 24 rows.
  TerminalPlotOptions& height(int64_t rows);
  /// Draws with ASCII characters only. Titles and names stay as they were
  /// given.
  TerminalPlotOptions& ascii(bool only_ascii = true);

  int64_t width() const { return width_; }
  int64_t height() const { return height_; }
  bool is_ascii() const { return ascii_; }

 private:
  int64_t width_ = 80;
  int64_t height_ = 16;
  bool ascii_ = false;
};

/// Draws the plot as lines of text, each ended by '\n' and at most
/// `options.width()` columns wide, without colour or escape codes.
///
/// The first line is drawn in braille dots (2 x 4 a character), every further
/// series with a character of its own, which the legend below the plot names.
/// Where series meet, the later one is on top. Axes, gaps and marks are those
/// of `LinePlot`; the axes end at the outermost points, without a margin.
std::string to_terminal(
    const LinePlot& plot, const TerminalPlotOptions& options = {});

}  // namespace stepsize
