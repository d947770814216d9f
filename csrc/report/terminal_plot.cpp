#include <stepsize/report/terminal_plot.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>
#include <vector>

#include "csrc/report/axis.h"
#include "csrc/report/canvas.h"
#include "csrc/report/legend.h"
#include "csrc/report/polyline.h"
#include "csrc/report/text.h"

namespace stepsize {
namespace {

using report::Slot;
using report::Ticks;

/// The characters that a plot is made of.
struct Alphabet {
  std::u32string series;
  char32_t mark;
  char32_t vertical;
  char32_t vertical_tick;
  char32_t horizontal;
  char32_t horizontal_tick;
  char32_t corner;
  std::u32string ellipsis;
};

const Alphabet& alphabet(bool ascii) {
  static const Alphabet kAscii{
      U"*+ox#@%&$", U':', U'|', U'+', U'-', U'+', U'+', U"..."};
  static const Alphabet kUnicode{
      U"*+ox#@%&$", U'┊', U'│', U'┤', U'─', U'┬', U'└', U"…"};
  return ascii ? kAscii : kUnicode;
}

class TerminalPainter {
 public:
  TerminalPainter(const LinePlot& plot, const TerminalPlotOptions& options)
      : plot_(plot),
        width_(static_cast<int>(options.width())),
        height_(static_cast<int>(options.height())),
        ascii_(options.is_ascii()),
        letters_(alphabet(ascii_)),
        x_axis_(report::make_x_axis(plot, 0)),
        y_axis_(report::make_y_axis(plot, x_axis_, 0)),
        y_ticks_(y_axis_.ticks(std::max(2, height_ / 3))),
        styles_(report::series_styles(plot)) {
    for (const auto& tick : y_ticks_.major) {
      y_tick_width_ = std::max(y_tick_width_, tick.label.size());
    }
    // The labels of extreme ranges must leave room for a curve.
    y_tick_width_ = std::min(y_tick_width_, static_cast<size_t>(width_) / 2);
    // One column is the axis, and the last one stays free: the label of a tick
    // at the right end is centred on it.
    columns_ = width_ - static_cast<int>(y_tick_width_) - 3;
    for (size_t i = 0; i < styles_.size() && !ascii_; ++i) {
      if (plot.series()[i].style == LinePlot::Style::kLine) {
        braille_style_ = styles_[i];
        has_braille_ = true;
        break;
      }
    }
  }

  std::string text() const {
    std::vector<std::u32string> lines;
    for (const std::string& line :
         report::wrap(plot_.title(), width_, 3, measure_, letters_.ellipsis)) {
      lines.push_back(centered(line, 0, width_));
    }
    if (!plot_.y_label().empty()) {
      lines.push_back(shortened(plot_.y_label(), width_));
    }
    append(lines, mark_label_lines());
    append(lines, curve_lines());
    append(lines, x_axis_lines());
    if (!plot_.x_label().empty()) {
      lines.push_back(
          centered(plot_.x_label(), static_cast<int>(indent()), columns_));
    }
    append(lines, legend_lines());

    std::string result;
    for (std::u32string& line : lines) {
      line.erase(line.find_last_not_of(U' ') + 1);
      result += report::encode_utf8(line) + '\n';
    }
    return result;
  }

 private:
  static void append(
      std::vector<std::u32string>& lines, std::vector<std::u32string> more) {
    for (std::u32string& line : more) lines.push_back(std::move(line));
  }

  /// Columns left of the curve area: labels, a space and the axis.
  size_t indent() const { return y_tick_width_ + 2; }

  std::u32string shortened(const std::string& text, double columns) const {
    return report::decode_utf8(
        report::shorten(text, columns, measure_, letters_.ellipsis));
  }

  std::u32string centered(
      const std::string& text, int left, int columns) const {
    const std::u32string shown = shortened(text, columns);
    const double space = (columns - measure_(shown)) / 2;
    return std::u32string(
               static_cast<size_t>(left + std::max(0.0, space)), U' ') +
           shown;
  }

  int column_of(double x) const {
    return std::clamp(
        static_cast<int>(std::floor(x_axis_.fraction(x) * columns_)),
        0,
        columns_ - 1);
  }

  int row_of(double y) const {
    return std::clamp(
        static_cast<int>(std::floor((1 - y_axis_.fraction(y)) * height_)),
        0,
        height_ - 1);
  }

  char32_t letter_of(size_t style) const {
    // The braille line keeps a letter to itself, so that every other series has
    // the same letter with and without braille.
    return letters_.series[style % letters_.series.size()];
  }

  std::vector<std::u32string> curve_lines() const {
    report::Canvas canvas(columns_, height_);
    for (const auto& mark : plot_.marks()) {
      if (!x_axis_.contains(mark.x)) continue;
      canvas.vertical(column_of(mark.x), letters_.mark);
    }
    for (size_t i = 0; i < styles_.size(); ++i) {
      const auto& series = plot_.series()[i];
      const bool is_line = series.style == LinePlot::Style::kLine;
      const bool braille =
          is_line && has_braille_ && styles_[i] == braille_style_;
      const double dots_x = braille ? 2 : 1;
      const double dots_y = braille ? 4 : 1;
      const report::Box box{0, 0, columns_ * dots_x, height_ * dots_y};
      const auto points =
          report::Projection(x_axis_, y_axis_, box).points(series);
      if (!is_line) {
        for (const auto& dot : report::visible_dots(points, box, 1)) {
          canvas.letter(dot, letter_of(styles_[i]));
        }
        continue;
      }
      for (const auto& run : report::visible_runs(points, box)) {
        if (braille) {
          canvas.braille_run(run);
        } else {
          canvas.letter_run(run, letter_of(styles_[i]));
        }
      }
    }
    std::vector<std::u32string> lines = canvas.lines();
    std::vector<std::string> labels(lines.size());
    for (const auto& tick : y_ticks_.major) {
      labels[static_cast<size_t>(row_of(tick.value))] = tick.label;
    }
    for (size_t row = 0; row < lines.size(); ++row) {
      const std::u32string label =
          shortened(labels[row], static_cast<double>(y_tick_width_));
      lines[row] =
          std::u32string(y_tick_width_ - label.size(), U' ') + label + U' ' +
          (label.empty() ? letters_.vertical : letters_.vertical_tick) +
          lines[row];
    }
    return lines;
  }

  /// The densest ticks whose labels stay two columns apart, and their slots.
  std::pair<Ticks, std::vector<Slot>> place_x_ticks() const {
    for (int count = std::max(2, columns_ / 8);; --count) {
      Ticks ticks = x_axis_.ticks(count);
      std::vector<double> centers;
      std::vector<double> widths;
      for (const auto& tick : ticks.major) {
        centers.push_back(
            static_cast<double>(indent()) + column_of(tick.value) + 0.5);
        widths.push_back(static_cast<double>(tick.label.size()));
      }
      std::vector<Slot> slots =
          report::stack_labels(centers, widths, 2, 0, width_);
      const bool fits =
          std::all_of(slots.begin(), slots.end(), [](const Slot& slot) {
            return slot.row == 0;
          });
      if (fits || count <= 1) return {std::move(ticks), std::move(slots)};
    }
  }

  std::vector<std::u32string> x_axis_lines() const {
    const auto [ticks, slots] = place_x_ticks();
    std::u32string axis =
        std::u32string(y_tick_width_ + 1, U' ') + letters_.corner +
        std::u32string(static_cast<size_t>(columns_), letters_.horizontal);
    std::u32string labels(static_cast<size_t>(width_), U' ');
    for (size_t i = 0; i < slots.size(); ++i) {
      const auto& tick = ticks.major[i];
      axis[indent() + static_cast<size_t>(column_of(tick.value))] =
          letters_.horizontal_tick;
      if (slots[i].row == 0) put(labels, slots[i].left, tick.label);
    }
    return {axis, labels};
  }

  /// Writes over the line from the given column on. Only for lines and texts in
  /// which a character is a column.
  static void put(std::u32string& line, double left, const std::string& text) {
    const std::u32string characters = report::decode_utf8(text);
    const auto start = static_cast<size_t>(left);
    if (line.size() < start + characters.size()) {
      line.resize(start + characters.size(), U' ');
    }
    line.replace(start, characters.size(), characters);
  }

  std::vector<std::u32string> mark_label_lines() const {
    std::vector<std::u32string> labels;
    std::vector<double> centers;
    std::vector<double> widths;
    for (const auto& mark : plot_.marks()) {
      if (mark.label.empty() || !x_axis_.contains(mark.x)) continue;
      labels.push_back(shortened(mark.label, columns_));
      centers.push_back(
          static_cast<double>(indent()) + column_of(mark.x) + 0.5);
      widths.push_back(measure_(labels.back()));
    }
    const std::vector<Slot> slots = report::stack_labels(
        centers, widths, 2, static_cast<double>(indent()), width_);
    int rows = 0;
    for (const Slot& slot : slots) rows = std::max(rows, slot.row + 1);
    std::vector<std::u32string> lines;
    for (int row = rows - 1; row >= 0; --row) {
      // From left to right, so that wide characters count once.
      std::vector<size_t> order;
      for (size_t i = 0; i < slots.size(); ++i) {
        if (slots[i].row == row) order.push_back(i);
      }
      std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
        return slots[a].left < slots[b].left;
      });
      std::u32string line;
      for (const size_t i : order) {
        const double missing = std::floor(slots[i].left) - measure_(line);
        line.append(static_cast<size_t>(std::max(0.0, missing)), U' ');
        line += labels[i];
      }
      lines.push_back(std::move(line));
    }
    return lines;
  }

  std::u32string sample(const report::LegendEntry& entry) const {
    const bool braille =
        entry.has_line && has_braille_ && entry.style == braille_style_;
    std::u32string letter(1, letter_of(entry.style));
    if (!braille) return letter;
    return entry.has_points ? U"⠒⠒" + letter : U"⠒⠒";
  }

  std::vector<std::u32string> legend_lines() const {
    const double room = width_ - static_cast<double>(indent());
    std::vector<std::u32string> items;
    std::vector<double> widths;
    for (const auto& entry : report::legend_entries(plot_)) {
      const std::u32string glyph = sample(entry) + U' ';
      items.push_back(glyph + shortened(entry.name, room - measure_(glyph)));
      widths.push_back(measure_(items.back()));
    }
    const std::vector<Slot> slots = report::flow(widths, 3, room);
    std::vector<std::u32string> lines;
    for (size_t i = 0; i < slots.size(); ++i) {
      if (slots[i].left == 0)
        lines.emplace_back(indent(), U' ');
      else
        lines.back() += U"   ";
      lines.back() += items[i];
    }
    return lines;
  }

  const LinePlot& plot_;
  int width_;
  int height_;
  bool ascii_;
  const Alphabet& letters_;
  report::Axis x_axis_;
  report::Axis y_axis_;
  Ticks y_ticks_;
  std::vector<size_t> styles_;
  report::Measure measure_ = report::terminal_measure();
  size_t y_tick_width_ = 0;
  int columns_ = 0;
  size_t braille_style_ = 0;
  bool has_braille_ = false;
};

int64_t checked_size(
    const char* name, int64_t value, int64_t least, int64_t most) {
  if (value < least || value > most) {
    throw std::invalid_argument(
        std::string("TerminalPlotOptions: ") + name + " must be from " +
        std::to_string(least) + " to " + std::to_string(most) + ", got " +
        std::to_string(value));
  }
  return value;
}

}  // namespace

TerminalPlotOptions& TerminalPlotOptions::width(int64_t columns) {
  width_ = checked_size("width", columns, 40, 500);
  return *this;
}

TerminalPlotOptions& TerminalPlotOptions::height(int64_t rows) {
  height_ = checked_size("height", rows, 4, 200);
  return *this;
}

TerminalPlotOptions& TerminalPlotOptions::ascii(bool only_ascii) {
  ascii_ = only_ascii;
  return *this;
}

std::string to_terminal(
    const LinePlot& plot, const TerminalPlotOptions& options) {
  return TerminalPainter(plot, options).text();
}

}  // namespace stepsize
