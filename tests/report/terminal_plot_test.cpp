#include <stepsize/report/terminal_plot.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace stepsize {
namespace {

std::vector<std::string> lines_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

/// Characters, not bytes: all bytes but those that continue a character.
size_t code_points(const std::string& text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

LinePlot busy_plot() {
  std::vector<double> x;
  std::vector<double> y;
  for (int i = 1; i <= 1000; ++i) {
    x.push_back(1e-9 * std::pow(1.05, i));
    y.push_back(1e15 * std::sin(0.01 * i));
  }
  LinePlot plot(std::string(150, 'T') + " and a word");
  plot.x_label(std::string(120, 'x')).y_label(std::string(120, 'y')).x_log();
  for (int i = 0; i < 12; ++i) {
    plot.line("series with a long name, number " + std::to_string(i), x, y);
    plot.mark(x[static_cast<size_t>(80 * i)], "mark " + std::to_string(i));
  }
  plot.points(std::string(100, 'p'), x, y).mark(x.back(), std::string(99, 'm'));
  return plot;
}

TEST(TerminalPlot, NoLineIsWiderThanAsked) {
  for (const bool ascii : {false, true}) {
    for (const int64_t width : {40, 80, 200}) {
      const std::string text = to_terminal(
          busy_plot(), TerminalPlotOptions().width(width).ascii(ascii));
      for (const std::string& line : lines_of(text)) {
        EXPECT_LE(code_points(line), static_cast<size_t>(width)) << line;
      }
    }
  }
}

TEST(TerminalPlot, DefaultFitsEightyColumnsAndTwentyFourRows) {
  const std::string text = to_terminal(LinePlot("title")
                                           .x_label("x")
                                           .y_label("y")
                                           .line("a", {0, 1000}, {0, 1})
                                           .points("b", {500}, {0.5})
                                           .mark(500, "mark"));
  const auto lines = lines_of(text);
  EXPECT_LT(lines.size(), 24u);
  for (const std::string& line : lines) EXPECT_LE(code_points(line), 80u);
}

TEST(TerminalPlot, AsciiHasNoOtherCharacter) {
  for (const char c : to_terminal(busy_plot(), TerminalPlotOptions().ascii())) {
    EXPECT_TRUE(c == '\n' || (c >= ' ' && c <= '~'));
  }
}

TEST(TerminalPlot, EscapeCodesInNamesAreDisarmed) {
  const std::string text =
      to_terminal(LinePlot("\x1B[31mred").line("\x1B[2J", {0, 1}, {0, 1}));
  EXPECT_EQ(text.find('\x1B'), std::string::npos);
}

TEST(TerminalPlot, DrawsADiagonalFromCornerToCorner) {
  const std::string text = to_terminal(
      LinePlot("").line("", {0, 1}, {0, 1}),
      TerminalPlotOptions().width(40).height(10).ascii());
  const auto lines = lines_of(text);
  ASSERT_GE(lines.size(), 10u);
  // The x axis spans the curve area; its line is the first below.
  const size_t first = lines[10].find('+') + 1;
  const size_t last = lines[10].size() - 1;
  EXPECT_EQ(lines[0].rfind('*'), last);
  EXPECT_EQ(lines[9].find('*'), first);
  for (size_t row = 1; row < 10; ++row) {
    EXPECT_LE(lines[row].find('*'), lines[row - 1].find('*'));
  }
}

TEST(TerminalPlot, GapsStayEmpty) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::string text = to_terminal(
      LinePlot("").y_range(0, 2).line(
          "", {0, 1, 2, 3, 4, 5}, {1, 1, nan, nan, 1, 1}),
      TerminalPlotOptions().ascii());
  for (const std::string& line : lines_of(text)) {
    const size_t first = line.find('*');
    if (first == std::string::npos) continue;
    const size_t last = line.rfind('*');
    // Three fifths of the 74 columns or so lie between the two pieces.
    const auto blanks = std::count(
        line.begin() + static_cast<std::ptrdiff_t>(first),
        line.begin() + static_cast<std::ptrdiff_t>(last),
        ' ');
    EXPECT_NEAR(static_cast<double>(blanks), 0.6 * 76, 3);
    return;
  }
  FAIL() << "no curve in\n" << text;
}

TEST(TerminalPlot, SeriesHaveGlyphsThatTheLegendNames) {
  const LinePlot plot = LinePlot("")
                            .line("first", {0, 1}, {0, 0})
                            .line("second", {0, 1}, {1, 1})
                            .points("third", {0.5}, {0.5});
  const std::string text = to_terminal(plot);
  EXPECT_NE(
      text.find("\u2812\u2812 first   + second   o third"), std::string::npos);
  const std::string ascii = to_terminal(plot, TerminalPlotOptions().ascii());
  EXPECT_NE(ascii.find("* first   + second   o third"), std::string::npos);
  // The dot at (0.5, 0.5) is in the middle of the 16 rows.
  EXPECT_NE(lines_of(ascii)[8].find('o'), std::string::npos);
}

TEST(TerminalPlot, MarkStandsUnderItsLabelAndOverItsTick) {
  const auto lines = lines_of(to_terminal(
      LinePlot("").x_range(0, 10).line("", {0, 10}, {0, 0}).mark(4, "|"),
      TerminalPlotOptions().height(4).ascii()));
  ASSERT_EQ(lines.size(), 7u);
  const size_t column = lines[1].find(':');
  ASSERT_NE(column, std::string::npos);
  EXPECT_EQ(lines[0].find('|'), column);
  EXPECT_EQ(lines[5][column], '+');
  EXPECT_EQ(lines[6][column], '4');
}

TEST(TerminalPlot, OddPlotsStillHaveAxes) {
  const double huge = std::numeric_limits<double>::max();
  const double tiny = std::numeric_limits<double>::denorm_min();
  const std::vector<LinePlot> plots = {
      LinePlot(""),
      LinePlot("").x_log().y_log(),
      LinePlot("").line("a", {3}, {4}),
      LinePlot("").line("a", {-huge, huge}, {-huge, huge}),
      LinePlot("").x_log().y_log().line("a", {tiny, huge}, {huge, tiny}),
      LinePlot("").y_range(1, std::nextafter(1, 2))};
  for (const LinePlot& plot : plots) {
    const std::string text =
        to_terminal(plot, TerminalPlotOptions().ascii().width(40));
    EXPECT_NE(text.find("+--"), std::string::npos) << text;
    for (const std::string& line : lines_of(text)) {
      EXPECT_LE(line.size(), 40u) << line;
    }
  }
}

TEST(TerminalPlotOptions, RefusesAbsurdSizes) {
  EXPECT_THROW(TerminalPlotOptions().width(10), std::invalid_argument);
  EXPECT_THROW(TerminalPlotOptions().width(1000), std::invalid_argument);
  EXPECT_THROW(TerminalPlotOptions().height(0), std::invalid_argument);
}

}  // namespace
}  // namespace stepsize
