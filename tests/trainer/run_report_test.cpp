#include "examples/trainer/run/run_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/report/svg.h>
#include <stepsize/schedule/ramp.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>

#include "examples/trainer/run/run_log.h"
#include "sample_files.h"

namespace stepsize::trainer {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

RunPlan plan_of_two() {
  RunPlan plan{constant()};
  plan.lr = 0.5;
  plan.steps = 2;
  return plan;
}

// The page of a run of two updates.
std::string page(const TemporaryFolder& folder, const RunPlan& plan) {
  RunLog log(folder.path(), plan);
  for (std::int64_t step = 1; step <= 2; ++step) {
    StepResult result{1, step, 0.5, 2.25};
    result.grad_norm = 3;
    result.sharpness = 0.75;
    log.add(result);
  }
  log.add(EpochResult{1, 2, 0.5, 1.875, 0.5, 1.75, 0.625, 100});
  log.draw();
  return read_text(folder / kRunReport);
}

TEST(RunReport, HasWhatEveryRunMeasures) {
  const TemporaryFolder folder;
  const std::string html = page(folder, plan_of_two());
  for (const auto* title : {"Summary", "Rates", "Losses", "Gradient norm"}) {
    EXPECT_THAT(html, HasSubstr(">" + std::string(title) + "</h2>"));
  }
  EXPECT_THAT(html, HasSubstr("1.75, accuracy 62.50%, epoch 1"));
  EXPECT_THAT(html, HasSubstr("<td class=\"number\">1.875</td>"));
  // What was not measured has no place.
  for (const auto* title : {"Sharpness", "Batch", "Range test", "Options"}) {
    EXPECT_THAT(html, Not(HasSubstr(title)));
  }
}

TEST(RunReport, TakesNoNaNForTheLowestLoss) {
  const TemporaryFolder folder;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  RunLog log(folder.path(), plan_of_two());
  log.add(EpochResult{1, 1, 0.5, 2, 0.5, std::copysign(nan, -1.0), 0.25, 100});
  log.draw();
  EXPECT_THAT(
      read_text(folder / kRunReport),
      AllOf(
          HasSubstr(">none is finite<"),
          HasSubstr("<td class=\"number\">nan</td>")));
  log.add(EpochResult{2, 2, 0.5, 2, 0.5, 1.75, 0.625, 100});
  log.add(EpochResult{3, 3, 0.5, 2, 0.5, 1.875, 0.625, 100});
  log.draw();
  EXPECT_THAT(
      read_text(folder / kRunReport),
      HasSubstr("1.75, accuracy 62.50%, epoch 2"));
}

TEST(RunReport, HasWhatARunMeasuresBesides) {
  const TemporaryFolder folder;
  write_svg(
      (folder / "lr_range.svg").string(),
      LinePlot("Found").line("", {0, 1}, {0, 1}));
  RunPlan plan = plan_of_two();
  plan.stability_limit = 3.8;
  plan.batch_varies = true;
  plan.has_range_test = true;
  EXPECT_THAT(
      page(folder, plan),
      AllOf(
          HasSubstr(">Sharpness</h2>"),
          HasSubstr(">Batch</h2>"),
          HasSubstr(">Range test</h2>"),
          HasSubstr("<title>Found</title>")));
}

TEST(RunReport, HasTheSearchAndTheEnsembleOfARun) {
  const TemporaryFolder folder;
  write_svg(
      (folder / "lr_search.svg").string(),
      LinePlot("Trials").line("", {0, 1}, {0, 1}));
  TrainOptions options;
  options.search = 7;
  options.lr_auto = true;
  options.ensemble = 2;
  RunPlan plan = plan_of_two();
  describe_for_report(options, "60 images", plan);
  EXPECT_THAT(
      page(folder, plan),
      AllOf(
          HasSubstr(">Search</h2>"),
          HasSubstr("<title>Trials</title>"),
          HasSubstr("--search"),
          Not(HasSubstr(">Range test</h2>")),
          Not(HasSubstr(">Ensemble</h2>"))));
  const std::string table =
      "model,test_loss,test_accuracy\nsnapshot 1,0.5,0.8125\n";
  write_plain(folder / "ensemble.csv", {table.begin(), table.end()});
  EXPECT_THAT(
      page(folder, plan),
      AllOf(HasSubstr(">Ensemble</h2>"), HasSubstr("81.25%")));
}

TEST(RunReport, SaysThatThePictureOfTheRangeTestIsGone) {
  const TemporaryFolder folder;
  RunPlan plan = plan_of_two();
  plan.has_range_test = true;
  EXPECT_THAT(page(folder, plan), HasSubstr("no lr_range.svg any more"));
  const std::string bad = "<svg onload=\"x\"></svg>";
  write_plain(folder / "lr_range.svg", {bad.begin(), bad.end()});
  EXPECT_THAT(page(folder, plan), Not(HasSubstr("onload")));
}

TEST(RunReport, ShowsOptionsAndNamesAsTheyStand) {
  const TemporaryFolder folder;
  TrainOptions options;
  options.dataset = "<script>alert(1)</script>";
  options.data_dir = "/a & b";
  options.lr_auto = true;
  RunPlan plan = plan_of_two();
  describe_for_report(options, "60 images", plan);
  EXPECT_TRUE(plan.has_range_test);
  EXPECT_THAT(
      page(folder, plan),
      AllOf(
          HasSubstr("<h1>&lt;script&gt;"),
          Not(HasSubstr("<script")),
          HasSubstr("60 images"),
          HasSubstr("/a &amp; b"),
          HasSubstr("warmup 10% &gt; cosine 90%"),
          HasSubstr(">Options</h2>"),
          HasSubstr("<th scope=\"row\">LibTorch</th>")));
}

TEST(RunReport, OfAnEarlierRunIsTakenAway) {
  const TemporaryFolder folder;
  page(folder, plan_of_two());
  const RunLog log(folder.path(), plan_of_two());
  EXPECT_FALSE(std::filesystem::exists(folder / kRunReport));
}

}  // namespace
}  // namespace stepsize::trainer
