#include <stepsize/report/svg.h>

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>
#include <regex>
#include <sstream>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace stepsize {
namespace {

using Places = std::vector<std::pair<double, double>>;

/// What is wrong with the markup; empty if every tag is closed in turn and
/// every ampersand starts an entity.
std::string markup_fault(const std::string& xml) {
  std::vector<std::string> open;
  size_t i = 0;
  while (i < xml.size()) {
    if (xml[i] == '&') {
      static const std::regex kEntity("&(amp|lt|gt|quot|#39);");
      if (!std::regex_search(
              xml.substr(i, 8),
              kEntity,
              std::regex_constants::match_continuous)) {
        return "bare ampersand at " + std::to_string(i);
      }
    }
    if (xml[i] != '<') {
      ++i;
      continue;
    }
    const size_t end = xml.find('>', i);
    if (end == std::string::npos) return "tag without end";
    const std::string tag = xml.substr(i + 1, end - i - 1);
    if (tag.find('<') != std::string::npos) return "tag within a tag";
    const std::string name = tag.substr(0, tag.find_first_of(" /\n", 1));
    if (tag[0] == '/') {
      if (open.empty() || "/" + open.back() != tag) return "stray " + tag;
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(name);
    }
    i = end + 1;
  }
  return open.empty() ? "" : "open " + open.back();
}

std::vector<Places> polylines(const std::string& svg) {
  std::vector<Places> result;
  size_t at = 0;
  while ((at = svg.find("points=\"", at)) != std::string::npos) {
    at += 8;
    std::istringstream text(svg.substr(at, svg.find('"', at) - at));
    result.emplace_back();
    double x = 0;
    double y = 0;
    char comma = 0;
    while (text >> x >> comma >> y) result.back().emplace_back(x, y);
  }
  return result;
}

/// Value of an attribute of the <text> element that holds `text`.
double text_place(
    const std::string& svg, const std::string& name, const std::string& text) {
  const std::regex element(
      "<text[^>]* " + name + "=\"([-0-9.]+)\"[^>]*>" + text + "</text>");
  std::smatch match;
  if (!std::regex_search(svg, match, element)) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  return std::stod(match[1]);
}

TEST(Svg, IsWellFormedWhateverTheNames) {
  const std::string nasty = "<b> & \"q\" 'a' \x01\xFF ]]> -->";
  const std::string svg = to_svg(LinePlot(nasty)
                                     .x_label(nasty)
                                     .y_label(nasty)
                                     .line(nasty, {0, 1}, {0, 1})
                                     .points(nasty + "2", {0, 1}, {0, 1})
                                     .mark(0.5, nasty));
  EXPECT_EQ(markup_fault(svg), "");
  EXPECT_NE(svg.find("&lt;b&gt; &amp; &quot;q&quot;"), std::string::npos);
  EXPECT_EQ(svg.find('\x01'), std::string::npos);
}

TEST(Svg, CheckerSeesFaults) {
  EXPECT_NE(markup_fault("<a><b></a></b>"), "");
  EXPECT_NE(markup_fault("<a>x & y</a>"), "");
  EXPECT_NE(markup_fault("<a>"), "");
  EXPECT_EQ(markup_fault("<a><b/>&amp;</a>"), "");
}

TEST(Svg, HasATitleElement) {
  EXPECT_NE(
      to_svg(LinePlot("Loss")).find("<title>Loss</title>"), std::string::npos);
}

TEST(Svg, PointsLieAtTheirTicks) {
  const std::string svg =
      to_svg(LinePlot("").x_range(0, 10).y_range(0, 50).line(
          "", {0, 4, 10}, {0, 20, 50}));
  const auto lines = polylines(svg);
  ASSERT_EQ(lines.size(), 1u);
  ASSERT_EQ(lines[0].size(), 3u);
  EXPECT_DOUBLE_EQ(lines[0][1].first, text_place(svg, "x", "4"));
  // Baselines lie 4.2 px below the middle of a label, for every y tick.
  const double down = text_place(svg, "y", "20") - lines[0][1].second;
  EXPECT_NEAR(down, 4.2, 0.02);
  EXPECT_NEAR(text_place(svg, "y", "50") - lines[0][2].second, down, 0.02);
  // Linear: the middle point divides both axes 4 to 6.
  for (const bool is_x : {true, false}) {
    const auto at = [&](size_t i) {
      return is_x ? lines[0][i].first : lines[0][i].second;
    };
    EXPECT_NEAR((at(1) - at(0)) / (at(2) - at(0)), 0.4, 1e-4);
  }
  // y points down.
  EXPECT_GT(lines[0][0].second, lines[0][2].second);
}

TEST(Svg, LogAxisPlacesByExponent) {
  const std::string svg =
      to_svg(LinePlot("").x_log().line("", {1e-5, 1e-3, 1e-1}, {1, 2, 3}));
  const auto lines = polylines(svg);
  ASSERT_EQ(lines.size(), 1u);
  ASSERT_EQ(lines[0].size(), 3u);
  EXPECT_NEAR(
      lines[0][1].first, (lines[0][0].first + lines[0][2].first) / 2, 0.011);
  EXPECT_DOUBLE_EQ(lines[0][1].first, text_place(svg, "x", "1e-3"));
}

TEST(Svg, NonFiniteValuesMakeGaps) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  const auto lines = polylines(to_svg(LinePlot("").line(
      "", {0, 1, 2, 3, 4, 5, 6, 7}, {1, 2, nan, 3, 4, infinity, 5, 6})));
  ASSERT_EQ(lines.size(), 3u);
  for (const Places& line : lines) EXPECT_EQ(line.size(), 2u);
}

TEST(Svg, NonPositiveValuesOnALogAxisMakeGaps) {
  const auto lines = polylines(
      to_svg(LinePlot("").y_log().line("", {0, 1, 2, 3, 4}, {1, 2, 0, 3, 4})));
  EXPECT_EQ(lines.size(), 2u);
}

TEST(Svg, ValueBetweenGapsIsADot) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::string svg =
      to_svg(LinePlot("").line("", {0, 1, 2, 3, 4}, {1, 2, nan, 3, nan}));
  EXPECT_EQ(polylines(svg).size(), 1u);
  EXPECT_NE(svg.find("<circle"), std::string::npos);
}

TEST(Svg, MillionPointsStaySmallAndKeepTheirSpike) {
  std::mt19937 generator(3);
  std::normal_distribution<double> noise;
  std::vector<double> x;
  std::vector<double> y;
  for (int i = 0; i < 1000000; ++i) {
    x.push_back(i);
    y.push_back(noise(generator));
  }
  y[500000] = 100;
  const std::string svg = to_svg(LinePlot("").line("", x, y));
  EXPECT_LT(svg.size(), 64u * 1024u);
  const auto lines = polylines(svg);
  ASSERT_EQ(lines.size(), 1u);
  double top = 1e9;
  double at = 0;
  for (const auto& place : lines[0]) {
    if (place.second < top) std::tie(at, top) = place;
  }
  const double left = lines[0].front().first;
  const double right = lines[0].back().first;
  EXPECT_NEAR(at, (left + right) / 2, 0.02);
}

TEST(Svg, EverythingStaysInThePicture) {
  const LinePlot plot = LinePlot(std::string(200, 'W'))
                            .x_range(0, 1)
                            .y_range(0, 1)
                            .line("", {-5, 0.5, 8}, {-9, 0.5, 1e300});
  for (const Places& line : polylines(to_svg(plot))) {
    for (const auto& [x, y] : line) {
      EXPECT_GE(x, 0);
      EXPECT_LE(x, 600);
      EXPECT_GE(y, 0);
      EXPECT_LE(y, 360);
    }
  }
}

TEST(Svg, OddPlotsStillHaveAxes) {
  const double huge = std::numeric_limits<double>::max();
  const double tiny = std::numeric_limits<double>::denorm_min();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const std::vector<LinePlot> plots = {
      LinePlot(""),
      LinePlot("").x_log().y_log(),
      LinePlot("").line("a", {}, {}),
      LinePlot("").line("a", {nan}, {nan}),
      LinePlot("").line("a", {3}, {4}),
      LinePlot("").line("a", {0, 1}, {0, 0}),
      LinePlot("").line("a", {-huge, huge}, {-huge, huge}),
      LinePlot("").line("a", {0, tiny}, {0, tiny}),
      LinePlot("").x_log().y_log().line("a", {tiny, huge}, {huge, tiny}),
      LinePlot("").x_range(1, std::nextafter(1, 2)).y_range(-huge, huge),
      LinePlot("").x_log().x_range(tiny, 2 * tiny)};
  for (size_t i = 0; i < plots.size(); ++i) {
    const std::string svg = to_svg(plots[i]);
    EXPECT_EQ(markup_fault(svg), "") << "plot " << i;
    EXPECT_EQ(svg.find("nan"), std::string::npos) << "plot " << i;
    EXPECT_EQ(svg.find("inf"), std::string::npos) << "plot " << i;
    EXPECT_NE(svg.find("text-anchor=\"end\""), std::string::npos)
        << "plot " << i << " has no labels on its y axis";
  }
}

TEST(Svg, MarkStandsAtItsValue) {
  const std::string svg = to_svg(
      LinePlot("").x_range(0, 10).line("", {0, 10}, {0, 1}).mark(4, "here"));
  const double at = text_place(svg, "x", "4");
  EXPECT_DOUBLE_EQ(text_place(svg, "x", "here"), at);
  std::smatch match;
  ASSERT_TRUE(std::regex_search(
      svg, match, std::regex("dasharray=\"5 4\">\\s*<line x1=\"([0-9.]+)\"")));
  EXPECT_DOUBLE_EQ(std::stod(match[1]), at);
}

TEST(Svg, LineAndPointsOfOneNameShareAnEntry) {
  const std::string svg = to_svg(
      LinePlot("").line("loss", {0, 1}, {0, 1}).points("loss", {0}, {1}));
  const size_t first = svg.find(">loss<");
  ASSERT_NE(first, std::string::npos);
  EXPECT_EQ(svg.find(">loss<", first + 1), std::string::npos);
}

TEST(Svg, LegendSaysHowManyNamesItLeavesOut) {
  LinePlot plot("");
  for (int i = 0; i < 100; ++i) {
    plot.line("series " + std::to_string(i), {0, 1}, {0, 1});
  }
  const std::string svg = to_svg(plot);
  const std::regex name(">series [0-9]+<");
  const auto shown = std::distance(
      std::sregex_iterator(svg.begin(), svg.end(), name),
      std::sregex_iterator());
  EXPECT_GT(shown, 5);
  EXPECT_NE(
      svg.find("+ " + std::to_string(100 - shown) + " more"),
      std::string::npos);
}

TEST(SvgOptions, SetsTheSizeAndRefusesAbsurdOnes) {
  const std::string svg =
      to_svg(LinePlot(""), SvgOptions().width(800).height(400));
  EXPECT_NE(svg.find("viewBox=\"0 0 800 400\""), std::string::npos);
  EXPECT_THROW(SvgOptions().width(10), std::invalid_argument);
  EXPECT_THROW(SvgOptions().height(-1), std::invalid_argument);
  EXPECT_THROW(SvgOptions().width(100000), std::invalid_argument);
}

TEST(WriteSvg, WritesTheDocument) {
  const auto path =
      (std::filesystem::temp_directory_path() / "stepsize_write_svg_test.svg")
          .string();
  const LinePlot plot = LinePlot("t").line("", {0, 1}, {0, 1});
  write_svg(path, plot);
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  EXPECT_EQ(text.str(), to_svg(plot));
  std::filesystem::remove(path);
}

TEST(WriteSvg, NamesPathAndReason) {
  try {
    write_svg("/no/such/folder/a.svg", LinePlot(""));
    FAIL() << "nothing was thrown";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(
        error.what(),
        "write_svg: cannot open \"/no/such/folder/a.svg\": No such file or "
        "directory");
  }
  if (std::filesystem::exists("/dev/full")) {
    EXPECT_THROW(write_svg("/dev/full", LinePlot("")), std::runtime_error);
  }
}

}  // namespace
}  // namespace stepsize
