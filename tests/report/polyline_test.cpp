#include "csrc/report/polyline.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace stepsize::report {

// Found by argument-dependent lookup, hence not in the unnamed namespace.
static bool operator==(const Point& a, const Point& b) {
  return a.x == b.x && a.y == b.y;
}

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
// GoogleTest has a Run of its own.
using Curve = report::Run;
constexpr Box kBox{0, 0, 10, 10};

TEST(SplitAtGaps, BreaksAtNaN) {
  const auto runs = split_at_gaps(
      {{kNaN, kNaN}, {0, 1}, {1, 2}, {kNaN, kNaN}, {kNaN, kNaN}, {3, 4}});
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[0], (Curve{{0, 1}, {1, 2}}));
  EXPECT_EQ(runs[1], (Curve{{3, 4}}));
}

TEST(ThinOut, KeepsFirstExtremesAndLastOfAColumnInOrder) {
  const Curve run = {
      {0.0, 5},
      {0.1, 6},
      {0.2, 9},
      {0.3, 4},
      {0.4, 1},
      {0.5, 3},
      {0.6, 2},
      {1.0, 7}};
  EXPECT_EQ(
      thin_out(run), (Curve{{0.0, 5}, {0.2, 9}, {0.4, 1}, {0.6, 2}, {1.0, 7}}));
}

TEST(ThinOut, LeavesOnePointAColumnAlone) {
  const Curve run = {{0, 1}, {1, 5}, {2, 3}, {1, 4}};
  EXPECT_EQ(thin_out(run), run);
}

TEST(ThinOut, KeepsASpikeAmongAMillionPoints) {
  Curve run;
  for (int i = 0; i < 1000000; ++i) run.push_back({i * 5e-4, 100.0});
  run[777777].y = -3;
  run[123456].y = 400;
  const Curve thin = thin_out(run);
  EXPECT_LE(thin.size(), 4u * 500u);
  int low = 0;
  int high = 0;
  for (const Point& p : thin) {
    low += p == run[777777];
    high += p == run[123456];
  }
  EXPECT_EQ(low, 1);
  EXPECT_EQ(high, 1);
}

TEST(Clip, CutsAtTheEdges) {
  const auto parts = clip({{-5, 5}, {5, 5}, {5, 20}}, kBox);
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0], (Curve{{0, 5}, {5, 5}, {5, 10}}));
}

TEST(Clip, LeavingAndComingBackMakesTwoParts) {
  const auto parts = clip({{1, 5}, {3, 15}, {5, 5}}, kBox);
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[0], (Curve{{1, 5}, {2, 10}}));
  EXPECT_EQ(parts[1], (Curve{{4, 10}, {5, 5}}));
}

TEST(Clip, CrossingTheBoxWithoutAPointInsideIsSeen) {
  const auto parts = clip({{-10, 0}, {20, 10}}, {0, 0, 10, 10});
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_NEAR(parts[0][0].y, 10.0 / 3, 1e-12);
  EXPECT_NEAR(parts[0][1].y, 20.0 / 3, 1e-12);
}

TEST(Clip, OutsideNothingIsLeft) {
  EXPECT_TRUE(clip({{-1, -1}, {11, -1}, {20, 20}}, kBox).empty());
  EXPECT_TRUE(clip({{11, 5}}, kBox).empty());
  EXPECT_EQ(clip({{5, 5}}, kBox).size(), 1u);
}

TEST(VisibleDots, KeepsOneOfEachCell) {
  const auto dots = visible_dots(
      {{1, 1}, {1.5, 1.5}, {3, 1}, {-1, 1}, {kNaN, kNaN}}, kBox, 2);
  ASSERT_EQ(dots.size(), 2u);
  EXPECT_EQ(dots[0], (Point{1, 1}));
  EXPECT_EQ(dots[1], (Point{3, 1}));
}

TEST(Projection, PutsTheLowerLeftCornerAtTheAxesStarts) {
  const Projection p(Axis(0, 10, false), Axis(1e-4, 1, true), kBox);
  EXPECT_DOUBLE_EQ(p.x(0), 0);
  EXPECT_DOUBLE_EQ(p.x(2.5), 2.5);
  EXPECT_NEAR(p.y(1e-4), 10, 1e-12);
  EXPECT_NEAR(p.y(1e-2), 5, 1e-12);
  EXPECT_NEAR(p.y(1), 0, 1e-12);
  EXPECT_TRUE(std::isnan(p.y(0)));
  EXPECT_TRUE(std::isnan(p.y(-1)));
}

TEST(Projection, BothEndsOfAnAxisAreInTheBox) {
  for (int i = 0; i < 3000; ++i) {
    const double left = 30 + 0.01 * i;
    const Box box{left, left / 3, 704 - left / 7, 300 + left / 11};
    const Projection p(Axis(0, 37.7, false), Axis(1e-3, 0.7, true), box);
    EXPECT_TRUE(box.contains({p.x(0), p.y(1e-3)})) << left;
    EXPECT_TRUE(box.contains({p.x(37.7), p.y(0.7)})) << left;
    EXPECT_FALSE(box.contains({p.x(37.8), p.y(0.7)})) << left;
  }
}

TEST(Projection, ValuesFarPastTheAxisStayFinite) {
  const Projection p(Axis(0, 1e-300, false), Axis(0, 1, false), kBox);
  EXPECT_TRUE(std::isfinite(p.x(1e300)));
}

TEST(MakeAxis, HasRoomAroundEqualValues) {
  for (const double value : {0.0, 0.1, -3.0, 1e15, 1e-12, -1e300, 5e-320}) {
    const LinePlot plot = LinePlot("").line("", {0, 1}, {value, value});
    const Axis axis = make_y_axis(plot, make_x_axis(plot, 0), 0);
    EXPECT_NEAR(axis.fraction(value), 0.5, 1e-6) << value;
    EXPECT_GE(axis.ticks(6).major.size(), 2u) << value;
  }
}

TEST(MakeAxis, YHeedsOnlyPointsWithinTheXRange) {
  const LinePlot plot =
      LinePlot("").x_range(0, 2).line("", {0, 1, 2, 3}, {5, 6, 7, 1000});
  const Axis axis = make_y_axis(plot, make_x_axis(plot, 0), 0);
  EXPECT_EQ(axis.lo(), 5);
  EXPECT_EQ(axis.hi(), 7);
}

}  // namespace
}  // namespace stepsize::report
