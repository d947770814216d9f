#include "examples/trainer/run_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/schedule/ramp.h>

#include <algorithm>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "sample_files.h"

namespace stepsize::trainer {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

RunPlan plan_of(const Schedule& schedule, std::int64_t steps) {
  RunPlan plan{schedule};
  plan.lr = 0.5;
  plan.steps = steps;
  return plan;
}

StepResult step_result(std::int64_t step, double lr, double grad_norm) {
  StepResult result{1, step, lr, 2.25};
  result.grad_norm = grad_norm;
  return result;
}

TEST(RunLog, WritesRowsAndPictures) {
  const TemporaryFolder folder;
  const auto out = folder / "a/b";
  RunLog log(out, plan_of(linear(3), 3));
  log.add(step_result(1, 0.5, 4));
  auto measured = step_result(2, 0.25, 0.125);
  measured.sharpness = 3;
  measured.batch = 256;
  measured.noise_scale = 1.5;
  log.add(measured);
  log.add(step_result(3, 0.25, std::numeric_limits<double>::quiet_NaN()));
  log.add(EpochResult{1, 3, 0.25, 1.875, 0.5, 1.75, 0.625, 100});
  log.draw();
  EXPECT_EQ(
      read_text(out / "log.csv"),
      "epoch,step,lr,train_loss,train_accuracy,test_loss,test_accuracy,"
      "images_per_second\n1,3,0.25,1.875,0.5,1.75,0.625,100\n");
  EXPECT_EQ(
      read_text(out / "steps.csv"),
      "step,lr,train_loss,grad_norm,sharpness,lr_sharpness,batch,noise_scale\n"
      "1,0.5,2.25,4,,,0,\n"
      "2,0.25,2.25,0.125,3,0.75,256,1.5\n"
      "3,0.25,2.25,nan,,,0,\n");
  for (const auto* name :
       {"lr.svg", "loss.svg", "accuracy.svg", "gradient.svg"}) {
    EXPECT_THAT(read_text(out / name), HasSubstr("</svg>")) << name;
  }
  EXPECT_FALSE(std::filesystem::exists(out / "sharpness.svg"));
}

TEST(RunLog, DrawsTheRateBeforeTheRunAndDropsOldPictures) {
  const TemporaryFolder folder;
  for (const auto& name : result_pictures()) {
    write_plain(folder / name, {'o', 'l', 'd'});
  }
  const RunLog log(folder.path(), plan_of(constant(), 1000));
  EXPECT_TRUE(std::filesystem::exists(folder / "lr.svg"));
  for (const auto& name : result_pictures()) {
    EXPECT_FALSE(std::filesystem::exists(folder / name)) << name;
  }
}

TEST(RunLog, KeepsThePlannedRateWhereItWasTaken) {
  const TemporaryFolder folder;
  RunLog log(folder.path(), plan_of(constant(), 2));
  const auto planned = read_text(folder / "lr.svg");
  log.add(step_result(1, 0.5, 1));
  log.draw();
  EXPECT_EQ(read_text(folder / "lr.svg"), planned);
  auto back = step_result(2, 0.25, 8);
  back.rolled_back = true;
  log.add(back);
  log.draw();
  EXPECT_THAT(
      read_text(folder / "lr.svg"),
      AllOf(
          HasSubstr(">planned<"),
          HasSubstr(">taken<"),
          HasSubstr(">rollback<")));
  EXPECT_THAT(read_text(folder / "gradient.svg"), HasSubstr(">rollback<"));
}

TEST(RunLog, DrawsWhereGradientsAreClipped) {
  const TemporaryFolder folder;
  RunPlan plan = plan_of(constant(), 2);
  plan.max_norm = 2;
  RunLog log(folder.path(), plan);
  log.add(step_result(1, 0.5, 1));
  log.add(step_result(2, 0.5, 4));
  log.draw();
  EXPECT_THAT(
      read_text(folder / "gradient.svg"),
      AllOf(HasSubstr(">norm<"), HasSubstr(">max norm 2<")));
}

TEST(RunLog, DrawsTheSharpnessOfARunThatMeasuresIt) {
  const TemporaryFolder folder;
  RunPlan plan = plan_of(constant(), 2);
  plan.stability_limit = 3.8;
  RunLog log(folder.path(), plan);
  const auto planned = read_text(folder / "lr.svg");
  EXPECT_THAT(planned, HasSubstr(">factor<"));
  for (const std::int64_t step : {1, 2}) {
    auto result = step_result(step, 0.5, 1);
    result.sharpness = 4;
    log.add(result);
  }
  log.draw();
  EXPECT_THAT(
      read_text(folder / "sharpness.svg"),
      AllOf(
          HasSubstr(">sharpness<"),
          HasSubstr(">rate x sharpness<"),
          HasSubstr(">its limit 3.8<")));
  EXPECT_THAT(read_text(folder / "lr.svg"), Not(HasSubstr(">factor<")));
}

TEST(RunLog, DrawsTheBatchAndItsNoiseScale) {
  const TemporaryFolder folder;
  RunPlan plan = plan_of(constant(), 2);
  plan.batch_varies = true;
  RunLog log(folder.path(), plan);
  for (const std::int64_t step : {1, 2}) {
    auto result = step_result(step, 0.5, 1);
    result.batch = 100 * step;
    result.noise_scale = 300;
    log.add(result);
  }
  log.draw();
  EXPECT_THAT(
      read_text(folder / "batch.svg"),
      AllOf(HasSubstr(">batch<"), HasSubstr(">gradient noise scale<")));
}

// The y coordinates of the first line of a picture.
std::vector<double> heights(const std::string& picture) {
  const std::string start = "points=\"";
  const auto from = picture.find(start, picture.find("<polyline"));
  std::istringstream in(picture.substr(
      from + start.size(), picture.find('"', from + start.size()) - from));
  std::vector<double> result;
  double x = 0;
  double y = 0;
  for (char comma = 0; in >> x >> comma >> y;) {
    result.push_back(y);
  }
  return result;
}

TEST(RunLog, DrawsWhatFollowsAHugeValueAsItIs) {
  const TemporaryFolder folder;
  RunLog log(folder.path(), plan_of(constant(), 1000));
  for (std::int64_t step = 1; step <= 1000; ++step) {
    log.add(step_result(step, 0.5, step == 300 ? 1e22 : 2));
  }
  log.draw();
  const auto norms = heights(read_text(folder / "gradient.svg"));
  ASSERT_FALSE(norms.empty());
  // Means of eleven: the same height on either side of the spike, and no gap.
  EXPECT_EQ(norms.front(), norms.back());
  EXPECT_LT(*std::min_element(norms.begin(), norms.end()), norms.front() - 100);
}

TEST(RunLog, DrawsOneNormThatIsNoNumberAsOneGap) {
  const TemporaryFolder folder;
  RunLog log(folder.path(), plan_of(constant(), 1000));
  for (std::int64_t step = 1; step <= 1000; ++step) {
    log.add(step_result(
        step, 0.5, step == 500 ? std::numeric_limits<double>::infinity() : 2));
  }
  log.draw();
  // Means are taken over eleven updates: those near it count without it.
  std::size_t lines = 0;
  const auto picture = read_text(folder / "gradient.svg");
  for (auto at = picture.find("<polyline"); at != std::string::npos;
       at = picture.find("<polyline", at + 1)) {
    ++lines;
  }
  EXPECT_EQ(lines, 2U);
  EXPECT_THAT(picture, Not(HasSubstr("nan")));
}

TEST(RunLog, NamesTheFolderThatItCannotMake) {
  const TemporaryFolder folder;
  write_plain(folder / "file", {});
  const auto out = folder / "file/run";
  EXPECT_THAT(
      message_of([&] { RunLog(out, plan_of(constant(), 1)); }),
      HasSubstr(out.string()));
}

TEST(RunLog, NamesTheFileThatItCannotReplace) {
  const TemporaryFolder folder;
  // A folder that is not empty is in the way of each file.
  std::vector<std::string> names = result_pictures();
  names.insert(names.end(), {"log.csv", "steps.csv", "lr.svg"});
  for (const auto& name : names) {
    const auto out = folder / ("for-" + name);
    std::filesystem::create_directories(out / name / "in-the-way");
    EXPECT_THAT(
        message_of([&] { RunLog(out, plan_of(constant(), 1)); }),
        HasSubstr((out / name).string()));
  }
}

}  // namespace
}  // namespace stepsize::trainer
