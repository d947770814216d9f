#include "csrc/report/ticks.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace stepsize::report {
namespace {

std::vector<std::string> labels(const Ticks& ticks) {
  std::vector<std::string> result;
  for (const Tick& tick : ticks.major) result.push_back(tick.label);
  return result;
}

using Labels = std::vector<std::string>;

TEST(LinearTicks, StepIsTheSmallestOf125ThatFits) {
  EXPECT_EQ(labels(linear_ticks(0, 10, 10)).size(), 11u);
  EXPECT_EQ(
      labels(linear_ticks(0, 10, 5)), (Labels{"0", "2", "4", "6", "8", "10"}));
  EXPECT_EQ(labels(linear_ticks(0, 10, 4)), (Labels{"0", "5", "10"}));
  EXPECT_EQ(labels(linear_ticks(0, 10, 1)), (Labels{"0", "10"}));
}

TEST(LinearTicks, LieWithinTheEnds) {
  EXPECT_EQ(
      labels(linear_ticks(-0.31, 0.29, 6)),
      (Labels{"-0.3", "-0.2", "-0.1", "0.0", "0.1", "0.2"}));
}

TEST(LinearTicks, EndsThatRoundingMovesAreKept) {
  // 0.1 + 0.2 is a little more than 0.3, 1 - 0.9 a little less than 0.1.
  EXPECT_EQ(
      labels(linear_ticks(1 - 0.9, 0.3, 2)), (Labels{"0.1", "0.2", "0.3"}));
  EXPECT_EQ(
      labels(linear_ticks(0.1, 0.1 + 0.2, 2)), (Labels{"0.1", "0.2", "0.3"}));
}

TEST(LinearTicks, ValuesAreTheDoublesNearestToTheLabels) {
  for (const Tick& tick : linear_ticks(0, 1, 10).major) {
    EXPECT_EQ(tick.value, std::stod(tick.label));
  }
}

TEST(LinearTicks, HugeAndTinyValuesAreScientific) {
  EXPECT_EQ(labels(linear_ticks(0, 1e15, 2)), (Labels{"0", "5e14", "1e15"}));
  EXPECT_EQ(
      labels(linear_ticks(-1e-9, 2e-9, 3)),
      (Labels{"-1e-9", "0", "1e-9", "2e-9"}));
  EXPECT_EQ(
      labels(linear_ticks(1e6, 3e6, 4)),
      (Labels{"1e6", "1.5e6", "2e6", "2.5e6", "3e6"}));
}

TEST(LinearTicks, FarFromZeroLabelsStillDiffer) {
  EXPECT_EQ(
      labels(linear_ticks(100000.1, 100000.3, 2)),
      (Labels{"100000.1", "100000.2", "100000.3"}));
}

TEST(LogTicks, LabelsDecadesAndMarksTheMultiplesBetween) {
  const Ticks ticks = log_ticks(1e-3, 1, 10);
  EXPECT_EQ(labels(ticks), (Labels{"1e-3", "1e-2", "1e-1", "1e0"}));
  EXPECT_EQ(ticks.minor.size(), 3u * 8u);
  EXPECT_EQ(ticks.minor.front(), 2e-3);
  EXPECT_EQ(ticks.minor.back(), 0.9);
}

TEST(LogTicks, MiddlingDecadesArePlain) {
  EXPECT_EQ(labels(log_ticks(0.1, 100, 4)), (Labels{"0.1", "1", "10", "100"}));
}

TEST(LogTicks, SkipsDecadesWhereTheyAreTooMany) {
  const Ticks ticks = log_ticks(1e-9, 1e3, 5);
  EXPECT_EQ(labels(ticks), (Labels{"1e-9", "1e-6", "1e-3", "1e0", "1e3"}));
  EXPECT_EQ(ticks.minor.size(), 8u);
}

TEST(LogTicks, OneDecadeIsLabelledInside) {
  const Ticks ticks = log_ticks(1e-4, 1e-3, 5);
  EXPECT_EQ(labels(ticks), (Labels{"1e-4", "2e-4", "5e-4", "1e-3"}));
  EXPECT_EQ(
      ticks.minor, (std::vector<double>{3e-4, 4e-4, 6e-4, 7e-4, 8e-4, 9e-4}));
}

TEST(LogTicks, WithinTwoMultiplesTheyAreLinear) {
  EXPECT_EQ(
      labels(log_ticks(2.1, 2.5, 4)),
      (Labels{"2.1", "2.2", "2.3", "2.4", "2.5"}));
}

TEST(PlainDecimal, PlacesThePoint) {
  EXPECT_EQ(plain_decimal(50, -3), "0.050");
  EXPECT_EQ(plain_decimal(-125, -2), "-1.25");
  EXPECT_EQ(plain_decimal(7, 2), "700");
  EXPECT_EQ(plain_decimal(0, 2), "0");
  EXPECT_EQ(plain_decimal(0, -1), "0.0");
}

TEST(Scientific, DropsTrailingZeros) {
  EXPECT_EQ(scientific(50, -3), "5e-2");
  EXPECT_EQ(scientific(-125, 4), "-1.25e6");
  EXPECT_EQ(scientific(1, 0), "1e0");
  EXPECT_EQ(scientific(0, 9), "0");
}

}  // namespace
}  // namespace stepsize::report
