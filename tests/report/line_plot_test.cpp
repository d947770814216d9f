#include <stepsize/report/line_plot.h>

#include <gtest/gtest.h>

#include <limits>
#include <stdexcept>
#include <string>

namespace stepsize {
namespace {

template <typename Call>
std::string message_of(const Call& call) {
  try {
    call();
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(LinePlot, HoldsWhatItIsGiven) {
  const LinePlot plot = LinePlot("title")
                            .x_label("x")
                            .y_label("y")
                            .x_log()
                            .y_range(-1, 2)
                            .line("a", {1, 2}, {3, 4})
                            .points("b", {5}, {6})
                            .mark(7, "m");
  EXPECT_EQ(plot.title(), "title");
  EXPECT_EQ(plot.x_label(), "x");
  EXPECT_EQ(plot.y_label(), "y");
  EXPECT_TRUE(plot.is_x_log());
  EXPECT_FALSE(plot.is_y_log());
  EXPECT_FALSE(plot.x_range().has_value());
  EXPECT_EQ(plot.y_range(), LinePlot::Range(-1, 2));
  ASSERT_EQ(plot.series().size(), 2u);
  EXPECT_EQ(plot.series()[0].style, LinePlot::Style::kLine);
  EXPECT_EQ(plot.series()[1].style, LinePlot::Style::kPoints);
  EXPECT_EQ(plot.series()[1].x, std::vector<double>{5});
  ASSERT_EQ(plot.marks().size(), 1u);
  EXPECT_EQ(plot.marks()[0].label, "m");
}

TEST(LinePlot, RefusesSizesThatDiffer) {
  LinePlot plot("");
  EXPECT_EQ(
      message_of([&] {
        plot.line("loss", {1, 2, 3}, {1, 2});
      }),
      "LinePlot: series \"loss\" has 3 x values and 2 y values, expected as "
      "many of each");
  EXPECT_THROW(plot.points("", {}, {1}), std::invalid_argument);
  EXPECT_TRUE(plot.series().empty());
}

TEST(LinePlot, RefusesRangesWithoutExtent) {
  LinePlot plot("");
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(
      message_of([&] { plot.x_range(2, 1); }),
      "LinePlot: x_range must be finite with lo < hi, got [2, 1]");
  EXPECT_THROW(plot.y_range(1, 1), std::invalid_argument);
  EXPECT_THROW(plot.y_range(0, infinity), std::invalid_argument);
  EXPECT_FALSE(plot.x_range().has_value());
  EXPECT_FALSE(plot.y_range().has_value());
}

TEST(LinePlot, RefusesLogAxisFromZeroInEitherOrder) {
  EXPECT_EQ(
      message_of([] { LinePlot("").x_log().x_range(0, 1); }),
      "LinePlot: x_range must be above 0 on a logarithmic axis, got [0, 1]");
  LinePlot plot("");
  plot.y_range(-1, 1);
  EXPECT_THROW(plot.y_log(), std::invalid_argument);
  EXPECT_FALSE(plot.is_y_log());
}

TEST(LinePlot, RefusesMarkWithoutPlace) {
  LinePlot plot("");
  EXPECT_EQ(
      message_of(
          [&] { plot.mark(std::numeric_limits<double>::quiet_NaN(), "best"); }),
      "LinePlot: mark \"best\" must have a finite x, got nan");
  EXPECT_TRUE(plot.marks().empty());
}

}  // namespace
}  // namespace stepsize
