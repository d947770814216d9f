#pragma once

#include <cstdint>
#include <string>

#include <stepsize/report/line_plot.h>

namespace stepsize {

/// Size of an SVG picture, in px. Texts keep their size whatever the picture's.
class SvgOptions {
 public:
  /// At least 240 and at most 10000, else std::invalid_argument.
  SvgOptions& width(int64_t pixels);
  /// At least 180 and at most 10000, else std::invalid_argument.
  SvgOptions& height(int64_t pixels);

  int64_t width() const { return width_; }
  int64_t height() const { return height_; }

 private:
  int64_t width_ = 600;
  int64_t height_ = 360;
};

/// Draws the plot as one self-contained SVG document: dark on white, generic
/// sans-serif text, no scripts, no style sheets and no ids, so that several can
/// stand in one HTML page.
///
/// - Linear ticks lie at 1-2-5 multiples of a power of ten; log ticks at
///   decades, with minor ticks between, and at 1-2-5 inside one decade.
/// - Colours are those of Okabe and Ito ("Color Universal Design", 2008), two
///   of them darkened to a contrast of at least 3:1 on white; after six series
///   they come again dashed.
/// - Title, legend and mark labels stand above the curves, never on them. Text
///   too long for its place is wrapped (title) or ends in an ellipsis.
/// - Each line keeps at most four points a pixel column (first, lowest,
///   highest, last), so a curve of a million steps makes a file of some tens of
///   kilobytes and loses no spike. A line whose x jumps to and fro keeps more.
///
/// Numbers use '.' in every locale.
std::string to_svg(const LinePlot& plot, const SvgOptions& options = {});

/// Writes `to_svg` to the file at `path`, replacing it. Throws
/// std::runtime_error that names path and reason if that fails.
void write_svg(
    const std::string& path,
    const LinePlot& plot,
    const SvgOptions& options = {});

}  // namespace stepsize
