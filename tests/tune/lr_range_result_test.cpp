#include <stepsize/tune/lr_range_result.h>

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

#include "tests/support/error_text.h"
#include "tests/support/numbers.h"
#include "tests/tune/lr_curves.h"

namespace stepsize {
namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string temporary(const std::string& name) {
  return testing::TempDir() + "lr_range_" + std::to_string(::getpid()) + name;
}

LRRangeTestResult small_result() {
  LRRangeTestResult result;
  result.lrs = {0.25, 0.5, 1};
  result.losses = {2, 1.5, test::kNaN};
  result.averaged = {2, 1.75, test::kNaN};
  result.smoothed = {2, 1.5, 1};
  result.status = LRRangeStatus::kNonFinite;
  result.reason = "a \"bad\" loss";
  result.suggestions.suggested = 0.5;
  result.max_stable_lr = 0.75;
  result.still_falling = true;
  result.group_ratios = {1, 10};
  return result;
}

TEST(LRRangeTestResult, WritesOneCsvRowAnIteration) {
  const auto path = temporary(".csv");
  small_result().write_csv(path);
  EXPECT_EQ(
      text_of(path),
      "iteration,lr,loss,averaged,smoothed\n"
      "0,0.25,2,2,2\n"
      "1,0.5,1.5,1.75,1.5\n"
      "2,1,nan,nan,1\n");
  std::remove(path.c_str());
}

TEST(LRRangeTestResult, WritesJsonWithNullForWhatIsNotThere) {
  const auto path = temporary(".json");
  small_result().write_json(path);
  EXPECT_EQ(
      text_of(path),
      "{\n"
      "  \"status\": \"non-finite\",\n"
      "  \"reason\": \"a \\\"bad\\\" loss\",\n"
      "  \"still_falling\": true,\n"
      "  \"suggested\": 0.5,\n"
      "  \"low\": null,\n"
      "  \"maximal\": null,\n"
      "  \"peak\": null,\n"
      "  \"steepest\": null,\n"
      "  \"steepest_low\": null,\n"
      "  \"steepest_high\": null,\n"
      "  \"valley\": null,\n"
      "  \"steep\": null,\n"
      "  \"minimum_tenth\": null,\n"
      "  \"max_stable_lr\": 0.75,\n"
      "  \"max_stable_lr_at_lowest\": null,\n"
      "  \"group_ratios\": [1, 10],\n"
      "  \"lrs\": [0.25, 0.5, 1],\n"
      "  \"losses\": [2, 1.5, null],\n"
      "  \"averaged\": [2, 1.75, null],\n"
      "  \"smoothed\": [2, 1.5, 1]\n"
      "}\n");
  std::remove(path.c_str());
}

TEST(LRRangeTestResult, SaysWhereItCannotWrite) {
  const auto result = small_result();
  for (const auto& write :
       {&LRRangeTestResult::write_csv, &LRRangeTestResult::write_json}) {
    try {
      (result.*write)("/no/such/folder/file");
      FAIL() << "nothing was thrown";
    } catch (const std::runtime_error& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find("/no/such/folder/file"), std::string::npos) << text;
      EXPECT_NE(text.find("No such file"), std::string::npos) << text;
    }
  }
}

TEST(LRRangeTestResult, SuggestionIsTheValueOrAnError) {
  auto result = small_result();
  EXPECT_EQ(result.suggestion(), 0.5);
  EXPECT_TRUE(result.has_suggestion());
  result.suggestions = {};
  EXPECT_EQ(
      test::message_of([&] { result.suggestion(); }),
      "LRRangeTestResult: there is no suggestion; status non-finite (a \"bad\" "
      "loss)");
  EXPECT_FALSE(result.has_suggestion());
}

TEST(LRRangeTestResult, PlotMarksTheSuggestions) {
  const auto curve = test::crafted_curve(1, 0.1);
  LRRangeTestResult result;
  result.lrs = curve.lrs;
  result.losses = curve.losses;
  result.losses[97] = 1e30;
  result.smoothed = fit_lr_curve(curve.lrs, curve.losses).values;
  result.suggestions = suggest_lr(curve.lrs, curve.losses);
  const LinePlot plot = result.plot("A title");
  EXPECT_EQ(plot.title(), "A title");
  EXPECT_TRUE(plot.is_x_log());
  ASSERT_EQ(plot.series().size(), 2u);
  EXPECT_EQ(plot.series()[0].y, result.smoothed);
  EXPECT_EQ(plot.series()[1].y, result.losses);
  ASSERT_EQ(plot.marks().size(), 4u);
  EXPECT_EQ(plot.marks()[3].x, *result.suggestions.peak);
  EXPECT_EQ(plot.marks()[1].x, result.suggestion());
  EXPECT_EQ(plot.marks()[1].label.rfind("suggested 0.0", 0), 0u);
  // The divergence does not flatten the curve.
  ASSERT_TRUE(plot.y_range());
  EXPECT_LT(plot.y_range()->second, 20);

  const auto path = temporary(".svg");
  result.write_svg(path);
  EXPECT_NE(text_of(path).find("suggested"), std::string::npos);
  std::remove(path.c_str());
  std::istringstream lines(result.to_terminal());
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    // UTF-8: bytes that continue a character are no columns.
    EXPECT_LE(
        std::count_if(
            line.begin(),
            line.end(),
            [](char c) { return (static_cast<unsigned char>(c) >> 6) != 2; }),
        80);
  }
  EXPECT_GT(count, 16);
}

TEST(LRRangeStatus, HasAName) {
  EXPECT_STREQ(to_string(LRRangeStatus::kFinished), "finished");
  EXPECT_STREQ(to_string(LRRangeStatus::kDiverged), "diverged");
  EXPECT_STREQ(to_string(LRRangeStatus::kNonFinite), "non-finite");
  EXPECT_STREQ(to_string(LRRangeStatus::kStopped), "stopped by the callback");
  EXPECT_STREQ(to_string(LRRangeStatus::kNoDescent), "no descent");
}

}  // namespace
}  // namespace stepsize
