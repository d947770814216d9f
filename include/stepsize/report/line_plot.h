#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace stepsize {

/// A line plot as a value: what to draw, not how. `to_svg` and `to_terminal`
/// turn it into a picture.
///
///     LinePlot plot("Range test");
///     plot.x_label("learning rate").x_log().y_label("loss");
///     plot.line("smoothed", lrs, smoothed).points("raw", lrs, losses);
///     plot.mark(0.03, "suggestion");
///
/// A point is drawable when both numbers are finite and, on a log axis, greater
/// than 0. Every other point is left out and breaks its line: a gap shows where
/// a loss became NaN. Axes span the drawable points and the marks unless a
/// range is given; a plot without any drawable point still has its axes.
///
/// Series of the same non-empty name share one colour and one legend entry (a
/// line and the dots on it, say). A series with an empty name has no entry.
class LinePlot {
 public:
  enum class Style { kLine, kPoints };

  struct Series {
    std::string name;
    std::vector<double> x;
    std::vector<double> y;
    Style style;
  };

  struct Mark {
    double x;
    std::string label;
  };

  /// The two ends of an axis, in data units: first < second.
  using Range = std::pair<double, double>;

  /// Texts are UTF-8; control characters in them are drawn as spaces.
  explicit LinePlot(std::string title);

  LinePlot& x_label(std::string label);
  LinePlot& y_label(std::string label);

  /// Makes the axis logarithmic (base 10). Throws std::invalid_argument if a
  /// range that starts at or below 0 was set before.
  LinePlot& x_log(bool log = true);
  LinePlot& y_log(bool log = true);

  /// Fixes the ends of the axis; what lies outside is cut off. Throws
  /// std::invalid_argument unless lo < hi, both are finite and, on a log axis,
  /// lo > 0.
  LinePlot& x_range(double lo, double hi);
  LinePlot& y_range(double lo, double hi);

  /// Adds a curve through (x[i], y[i]) in the given order. Throws
  /// std::invalid_argument if the sizes differ.
  LinePlot& line(
      std::string name, std::vector<double> x, std::vector<double> y);

  /// Adds one dot at every (x[i], y[i]). Throws as `line` does.
  LinePlot& points(
      std::string name, std::vector<double> x, std::vector<double> y);

  /// Adds a dashed vertical line at x, with a label above the plot. Throws
  /// std::invalid_argument if x is not finite. A mark outside of the axis is
  /// not drawn.
  LinePlot& mark(double x, std::string label);

  const std::string& title() const { return title_; }
  const std::string& x_label() const { return x_label_; }
  const std::string& y_label() const { return y_label_; }
  bool is_x_log() const { return x_log_; }
  bool is_y_log() const { return y_log_; }
  const std::optional<Range>& x_range() const { return x_range_; }
  const std::optional<Range>& y_range() const { return y_range_; }
  const std::vector<Series>& series() const { return series_; }
  const std::vector<Mark>& marks() const { return marks_; }

 private:
  LinePlot& add(
      Style style,
      std::string name,
      std::vector<double> x,
      std::vector<double> y);

  std::string title_;
  std::string x_label_;
  std::string y_label_;
  bool x_log_ = false;
  bool y_log_ = false;
  std::optional<Range> x_range_;
  std::optional<Range> y_range_;
  std::vector<Series> series_;
  std::vector<Mark> marks_;
};

}  // namespace stepsize
