#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/checkpoint/checkpoint_folder.h>
#include <stepsize/checkpoint/checkpoint_info.h>
#include <stepsize/lr_scheduler/reduce_lr_on_plateau.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tests/checkpoint/folder_case.h"
#include "tests/support/error_text.h"
#include "tests/support/numbers.h"

namespace stepsize {
namespace {

using test::message_of;
using testing::ElementsAre;
using testing::HasSubstr;

class CheckpointFolderTest : public test::FolderCase {};

TEST_F(CheckpointFolderTest, KeepsTheLastAndTheBest) {
  CheckpointFolder folder(path, CheckpointFolderOptions().keep_last(2));
  save(folder, 10, 0.5);
  save(folder, 20, 0.3);
  save(folder, 30, 0.4);
  save(folder, 40, 0.35);
  EXPECT_THAT(
      names(folder),
      ElementsAre("checkpoint-0000000030.ckpt", "checkpoint-0000000040.ckpt"));
  EXPECT_EQ(best_step(), 20);
  EXPECT_EQ(folder.latest(), path + "/checkpoint-0000000040.ckpt");
  EXPECT_EQ(folder.best(), path + "/best.ckpt");
  EXPECT_TRUE(folder.load_best(checkpoint));
  EXPECT_EQ(step, 20);
}

TEST_F(CheckpointFolderTest, TheBestOutlivesTheProcess) {
  {
    CheckpointFolder folder(path);
    save(folder, 1, 0.3);
  }
  CheckpointFolder folder(path);
  EXPECT_TRUE(folder.load_latest(checkpoint));
  save(folder, 2, 0.4);
  EXPECT_EQ(best_step(), 1);
  save(folder, 3, 0.2);
  EXPECT_EQ(best_step(), 3);
  EXPECT_EQ(read_checkpoint_info(path + "/best.ckpt").metric, 0.2);
}

TEST_F(CheckpointFolderTest, OfEqualMetricsTheEarliestIsTheBest) {
  CheckpointFolder folder(path);
  save(folder, 1, 0.3);
  save(folder, 2, 0.3);
  EXPECT_EQ(best_step(), 1);
}

TEST_F(CheckpointFolderTest, NoMetricThatIsNotFiniteIsTheBest) {
  CheckpointFolder folder(path);
  for (const double metric : {test::kNaN, -test::kInfinity, test::kInfinity}) {
    save(folder, ++step, metric);
    EXPECT_FALSE(folder.best());
  }
  save(folder, ++step);
  EXPECT_FALSE(folder.best());
  EXPECT_FALSE(folder.load_best(checkpoint));
  save(folder, ++step, 7.0);
  EXPECT_EQ(best_step(), step);
  save(folder, step + 1, test::kNaN);
  EXPECT_EQ(best_step(), step - 1);
}

TEST_F(CheckpointFolderTest, TheLargestIsTheBestIfAsked) {
  CheckpointFolder folder(
      path, CheckpointFolderOptions().mode(MetricMode::kMax));
  save(folder, 1, 0.3);
  save(folder, 2, 0.9);
  save(folder, 3, 0.8);
  EXPECT_EQ(best_step(), 2);
}

TEST(MetricMode, HasItsNamesOfVersion01) {
  const PlateauMode plateau_mode = PlateauMode::kMax;
  const auto scheduler_options = ReduceLROnPlateauOptions().mode(plateau_mode);
  const CheckpointMetric metric = CheckpointMetric::kMax;
  const auto folder_options = CheckpointFolderOptions().mode(metric);
  EXPECT_EQ(scheduler_options.mode(), MetricMode::kMax);
  EXPECT_EQ(folder_options.mode(), MetricMode::kMax);
}

TEST_F(CheckpointFolderTest, KeepsNoBestIfAsked) {
  CheckpointFolder folder(path, CheckpointFolderOptions().keep_best(false));
  save(folder, 1, 0.3);
  EXPECT_FALSE(folder.best());
}

TEST_F(CheckpointFolderTest, ADamagedBestIsReplaced) {
  CheckpointFolder folder(path);
  save(folder, 1, 0.3);
  std::filesystem::remove(path + "/best.ckpt");
  test::write_bytes(path + "/best.ckpt", "damaged");
  save(folder, 2, 0.4);
  EXPECT_EQ(best_step(), 2);
}

TEST_F(CheckpointFolderTest, WithoutAnyNothingIsLoaded) {
  CheckpointFolder folder(path);
  step = 17;
  const CheckpointLoadResult result = folder.load_latest(checkpoint);
  EXPECT_FALSE(result);
  EXPECT_EQ(result.step, -1);
  EXPECT_TRUE(result.passed_over.empty());
  EXPECT_EQ(step, 17);
  EXPECT_FALSE(folder.latest());
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(CheckpointFolderTest, PassesOverDamagedFilesAndNamesThem) {
  CheckpointFolder folder(path);
  save(folder, 1);
  save(folder, 2);
  save(folder, 3);
  damage("checkpoint-0000000003.ckpt");
  test::write_bytes(path + "/checkpoint-0000000002.ckpt", "");
  const CheckpointLoadResult result = folder.load_latest(checkpoint);
  EXPECT_TRUE(result);
  EXPECT_EQ(result.step, 1);
  EXPECT_EQ(step, 1);
  ASSERT_EQ(result.passed_over.size(), 2U);
  EXPECT_EQ(result.passed_over[0].path, path + "/checkpoint-0000000003.ckpt");
  EXPECT_THAT(result.passed_over[0].reason, HasSubstr("is damaged"));
  EXPECT_THAT(result.passed_over[1].reason, HasSubstr("is empty"));
  // The course goes on from there: what was passed over goes.
  save(folder, 2);
  EXPECT_THAT(
      names(folder),
      ElementsAre("checkpoint-0000000001.ckpt", "checkpoint-0000000002.ckpt"));
}

TEST_F(CheckpointFolderTest, DoesNotStartAnewWhereAllAreDamaged) {
  CheckpointFolder folder(path);
  save(folder, 1);
  damage("checkpoint-0000000001.ckpt");
  EXPECT_THAT(
      message_of([&] { folder.load_latest(checkpoint); }),
      HasSubstr("none of its checkpoints can be loaded:\n"));
}

TEST_F(CheckpointFolderTest, DoesNotPassOverASoundFileThatDoesNotFit) {
  CheckpointFolder folder(path);
  save(folder, 1);
  double other = 0;
  Checkpoint unlike;
  unlike.number("other", other);
  EXPECT_THAT(
      message_of([&] { folder.load_latest(unlike); }),
      HasSubstr("the file does not fit"));
}

TEST_F(CheckpointFolderTest, LeavesOtherFilesAlone) {
  CheckpointFolder folder(path, CheckpointFolderOptions().keep_last(1));
  std::filesystem::create_directories(path);
  for (const char* name :
       {"checkpoint-1.ckpt",
        "checkpoint-.ckpt",
        "checkpoint-00000000x1.ckpt",
        "notes.txt",
        "checkpoint-99999999999999999999.ckpt"}) {
    test::write_bytes(path + "/" + name, "mine");
  }
  save(folder, 1);
  save(folder, 12345678901);
  EXPECT_THAT(names(folder), ElementsAre("checkpoint-12345678901.ckpt"));
  const std::filesystem::directory_iterator entries(path);
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 6);
}

TEST_F(CheckpointFolderTest, RefusesWhatIsOutOfRange) {
  EXPECT_EQ(
      message_of([&] {
        CheckpointFolder(path, CheckpointFolderOptions().keep_last(0));
      }),
      "CheckpointFolder: keep_last must be >= 1, got 0");
  EXPECT_EQ(
      message_of([&] { CheckpointFolder(""); }),
      "CheckpointFolder: the path is empty");
  CheckpointFolder folder(path);
  EXPECT_EQ(
      message_of([&] { folder.save(-1, checkpoint); }),
      "CheckpointFolder: step must be >= 0, got -1");
  test::write_bytes(base.file("file"), "");
  CheckpointFolder blocked(base.file("file"));
  EXPECT_THAT(
      message_of([&] { blocked.save(1, checkpoint); }),
      HasSubstr("Not a directory"));
}

}  // namespace
}  // namespace stepsize
