#include "examples/trainer/run_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/schedule/ramp.h>

#include "sample_files.h"

namespace stepsize::trainer {
namespace {

using testing::HasSubstr;

TEST(RunLog, WritesRowsAndPictures) {
  const TemporaryFolder folder;
  const auto out = folder / "a/b";
  RunLog log(out, linear(2), 0.5, 2);
  log.add(StepResult{1, 1, 0.5, 2.25});
  log.add(StepResult{1, 2, 0.25, 1.5});
  log.add(EpochResult{1, 2, 0.25, 1.875, 0.5, 1.75, 0.625, 100});
  log.draw();
  EXPECT_EQ(
      read_text(out / "log.csv"),
      "epoch,step,lr,train_loss,train_accuracy,test_loss,test_accuracy,"
      "images_per_second\n1,2,0.25,1.875,0.5,1.75,0.625,100\n");
  EXPECT_EQ(
      read_text(out / "steps.csv"),
      "step,lr,train_loss\n1,0.5,2.25\n2,0.25,1.5\n");
  for (const auto* name : {"lr.svg", "loss.svg", "accuracy.svg"}) {
    EXPECT_THAT(read_text(out / name), HasSubstr("</svg>")) << name;
  }
}

TEST(RunLog, DrawsTheRateBeforeTheRunAndDropsOldPictures) {
  const TemporaryFolder folder;
  write_plain(folder / "loss.svg", {'o', 'l', 'd'});
  const RunLog log(folder.path(), constant(), 0.5, 1000);
  EXPECT_TRUE(std::filesystem::exists(folder / "lr.svg"));
  EXPECT_FALSE(std::filesystem::exists(folder / "loss.svg"));
}

TEST(RunLog, NamesTheFolderThatItCannotMake) {
  const TemporaryFolder folder;
  write_plain(folder / "file", {});
  const auto out = folder / "file/run";
  EXPECT_THAT(
      message_of([&] { RunLog(out, constant(), 0.5, 1); }),
      HasSubstr(out.string()));
}

TEST(RunLog, NamesTheFileThatItCannotReplace) {
  const TemporaryFolder folder;
  // A folder that is not empty is in the way of each file.
  for (const auto* name :
       {"log.csv", "steps.csv", "lr.svg", "loss.svg", "accuracy.svg"}) {
    const auto out = folder / (std::string("for-") + name);
    std::filesystem::create_directories(out / name / "in-the-way");
    EXPECT_THAT(
        message_of([&] { RunLog(out, constant(), 0.5, 1); }),
        HasSubstr((out / name).string()));
  }
}

}  // namespace
}  // namespace stepsize::trainer
