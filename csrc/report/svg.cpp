#include <stepsize/report/svg.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "csrc/report/svg_layout.h"
#include "csrc/report/text.h"
#include "csrc/report/text_file.h"

namespace stepsize {
namespace {

using report::Box;
using report::Point;
using report::SvgLayout;

constexpr double kDotRadius = 2.4;
constexpr const char* kInk = "#222222";
constexpr const char* kColors[] = {
    "#0072b2", "#d55e00", "#009e73", "#000000", "#b5588d", "#a87400"};
constexpr size_t kColorCount = sizeof(kColors) / sizeof(kColors[0]);
constexpr const char* kDashes[] = {"", "7 3", "2 3", "9 3 2 3"};
constexpr size_t kDashCount = sizeof(kDashes) / sizeof(kDashes[0]);

std::string number(double value) { return report::fixed_number(value, 2); }

/// ` name="value"`, the value being a number of ours.
std::string attribute(const char* name, double value) {
  return std::string(" ") + name + "=\"" + number(value) + "\"";
}

std::string color_of(size_t style) { return kColors[style % kColorCount]; }

std::string dash_of(size_t style) {
  const std::string dash = kDashes[style / kColorCount % kDashCount];
  return dash.empty() ? "" : " stroke-dasharray=\"" + dash + "\"";
}

std::string line_element(Point from, Point to) {
  return "<line" + attribute("x1", from.x) + attribute("y1", from.y) +
         attribute("x2", to.x) + attribute("y2", to.y) + "/>\n";
}

std::string circle_element(Point at, double radius) {
  return "<circle" + attribute("cx", at.x) + attribute("cy", at.y) +
         attribute("r", radius) + "/>\n";
}

std::string text_element(
    Point at, const std::string& text, const std::string& attributes = "") {
  return "<text" + attribute("x", at.x) + attribute("y", at.y) + attributes +
         ">" + report::escape_xml(text) + "</text>\n";
}

std::string group(const std::string& attributes, const std::string& content) {
  if (content.empty()) return "";
  return "<g " + attributes + ">\n" + content + "</g>\n";
}

class SvgPainter {
 public:
  SvgPainter(const LinePlot& plot, const SvgOptions& options)
      : plot_(plot),
        layout_(report::lay_out(plot, options)),
        box_(layout_.plot),
        projection_(layout_.x_axis, layout_.y_axis, box_) {}

  std::string document() const {
    const std::string size =
        attribute("width", layout_.width) + attribute("height", layout_.height);
    const std::string title =
        plot_.title().empty() ? "Line plot" : plot_.title();
    return "<svg xmlns=\"http://www.w3.org/2000/svg\"" + size +
           " viewBox=\"0 0 " + number(layout_.width) + " " +
           number(layout_.height) +
           "\" role=\"img\" font-family=\"sans-serif\"" +
           attribute("font-size", report::kTextSize) + ">\n<title>" +
           report::escape_xml(title) + "</title>\n<rect" + size +
           " fill=\"#ffffff\"/>\n" + grid() + marks() + series() + axes() +
           texts() + legend() + "</svg>\n";
  }

 private:
  std::string vertical(double x) const {
    return line_element({x, box_.top}, {x, box_.bottom});
  }

  std::string horizontal(double y) const {
    return line_element({box_.left, y}, {box_.right, y});
  }

  std::string grid() const {
    std::string minor;
    std::string major;
    for (const double x : layout_.x_ticks.minor) {
      minor += vertical(projection_.x(x));
    }
    for (const double y : layout_.y_ticks.minor) {
      minor += horizontal(projection_.y(y));
    }
    for (const auto& tick : layout_.x_ticks.major) {
      major += vertical(projection_.x(tick.value));
    }
    for (const auto& tick : layout_.y_ticks.major) {
      major += horizontal(projection_.y(tick.value));
    }
    return group("stroke=\"#f2f2f2\"", minor) +
           group("stroke=\"#dddddd\"", major);
  }

  std::string axes() const {
    const double bottom = box_.bottom;
    std::string lines =
        line_element({box_.left, box_.top}, {box_.left, bottom});
    lines += line_element({box_.left, bottom}, {box_.right, bottom});
    const auto x_tick = [&](double value, double length) {
      const double x = projection_.x(value);
      lines += line_element({x, bottom}, {x, bottom + length});
    };
    const auto y_tick = [&](double value, double length) {
      const double y = projection_.y(value);
      lines += line_element({box_.left - length, y}, {box_.left, y});
    };
    std::string x_labels;
    std::string y_labels;
    for (const auto& tick : layout_.x_ticks.major) {
      x_tick(tick.value, report::kTickLength);
      x_labels += text_element(
          {projection_.x(tick.value), bottom + report::kTickLength + 14},
          tick.label);
    }
    for (const auto& tick : layout_.y_ticks.major) {
      y_tick(tick.value, report::kTickLength);
      y_labels += text_element(
          {box_.left - report::kTickLength - 4,
           projection_.y(tick.value) + 0.35 * report::kTextSize},
          tick.label);
    }
    for (const double x : layout_.x_ticks.minor) x_tick(x, 3);
    for (const double y : layout_.y_ticks.minor) y_tick(y, 3);
    const std::string fill = std::string("fill=\"") + kInk + "\"";
    return group(std::string("stroke=\"") + kInk + "\"", lines) +
           group(fill + " text-anchor=\"middle\"", x_labels) +
           group(fill + " text-anchor=\"end\"", y_labels);
  }

  std::string texts() const {
    std::string result;
    for (const auto& line : layout_.title) {
      result += text_element(
          line.at,
          line.text,
          attribute("font-size", report::kTitleSize) + " font-weight=\"bold\"");
    }
    for (const auto& label : layout_.mark_labels) {
      result += text_element(label.at, label.text);
    }
    if (!layout_.x_label.empty()) {
      result += text_element(
          {(box_.left + box_.right) / 2, layout_.height - 10}, layout_.x_label);
    }
    if (!layout_.y_label.empty()) {
      const Point at{18, (box_.top + box_.bottom) / 2};
      result += text_element(
          at,
          layout_.y_label,
          " transform=\"rotate(-90 " + number(at.x) + " " + number(at.y) +
              ")\"");
    }
    return group(
        std::string("fill=\"") + kInk + "\" text-anchor=\"middle\"", result);
  }

  std::string marks() const {
    std::string lines;
    for (const auto& mark : plot_.marks()) {
      if (layout_.x_axis.contains(mark.x)) {
        lines += vertical(projection_.x(mark.x));
      }
    }
    return group("stroke=\"#666666\" stroke-dasharray=\"5 4\"", lines);
  }

  std::string line_series(const LinePlot::Series& series, size_t style) const {
    std::string lines;
    std::string dots;
    for (const auto& run :
         report::visible_runs(projection_.points(series), box_)) {
      if (run.size() == 1) {
        // A value between two gaps has no line to show it.
        dots += circle_element(run[0], kDotRadius);
        continue;
      }
      lines += "<polyline points=\"";
      for (size_t i = 0; i < run.size(); ++i) {
        lines +=
            (i == 0 ? "" : " ") + number(run[i].x) + "," + number(run[i].y);
      }
      lines += "\"/>\n";
    }
    return group(
               "fill=\"none\" stroke=\"" + color_of(style) +
                   "\" stroke-width=\"1.6\" stroke-linejoin=\"round\"" +
                   dash_of(style),
               lines) +
           group("fill=\"" + color_of(style) + "\"", dots);
  }

  std::string point_series(const LinePlot::Series& series, size_t style) const {
    std::string dots;
    for (const Point& dot :
         report::visible_dots(projection_.points(series), box_, kDotRadius)) {
      dots += circle_element(dot, kDotRadius);
    }
    return group(
        "fill=\"" + color_of(style) + "\" fill-opacity=\"0.75\"", dots);
  }

  std::string series() const {
    const std::vector<size_t> styles = report::series_styles(plot_);
    std::string result;
    for (size_t i = 0; i < styles.size(); ++i) {
      const auto& series = plot_.series()[i];
      result += series.style == LinePlot::Style::kLine
                    ? line_series(series, styles[i])
                    : point_series(series, styles[i]);
    }
    return result;
  }

  std::string legend() const {
    std::string result;
    for (const auto& [name, entry] : layout_.legend) {
      const double right = name.at.x - 6;
      const double left = right - report::kSampleWidth;
      const double y = name.at.y - 4;
      if (entry.has_line) {
        result += group(
            "stroke=\"" + color_of(entry.style) + "\" stroke-width=\"2\"" +
                dash_of(entry.style),
            line_element({left, y}, {right, y}));
      }
      if (entry.has_points) {
        result += group(
            "fill=\"" + color_of(entry.style) + "\"",
            circle_element({(left + right) / 2, y}, kDotRadius + 0.6));
      }
      result += text_element(name.at, name.text);
    }
    if (!layout_.legend_rest.text.empty()) {
      result += text_element(layout_.legend_rest.at, layout_.legend_rest.text);
    }
    return group(std::string("fill=\"") + kInk + "\"", result);
  }

  const LinePlot& plot_;
  SvgLayout layout_;
  Box box_;
  report::Projection projection_;
};

int64_t checked_size(const char* name, int64_t value, int64_t least) {
  if (value < least || value > 10000) {
    throw std::invalid_argument(
        std::string("SvgOptions: ") + name + " must be from " +
        std::to_string(least) + " to 10000, got " + std::to_string(value));
  }
  return value;
}

}  // namespace

SvgOptions& SvgOptions::width(int64_t pixels) {
  width_ = checked_size("width", pixels, 240);
  return *this;
}

SvgOptions& SvgOptions::height(int64_t pixels) {
  height_ = checked_size("height", pixels, 180);
  return *this;
}

std::string to_svg(const LinePlot& plot, const SvgOptions& options) {
  return SvgPainter(plot, options).document();
}

void write_svg(
    const std::string& path, const LinePlot& plot, const SvgOptions& options) {
  report::write_text_file("write_svg", path, to_svg(plot, options));
}

}  // namespace stepsize
