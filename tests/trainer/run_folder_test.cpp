// Folders that the program finds by itself.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "sample_files.h"
#include "train_program.h"

namespace stepsize::trainer {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class RunFolderTest : public TrainProgramTest {
 protected:
  void SetUp() override {
    TrainProgramTest::SetUp();
    working_folder_ = folder_.path();
  }

  Outcome bare(const std::string& more) const {
    return start("--data-dir data --batch-size 16 --threads 1 " + more);
  }
  fs::path run(const std::string& name) const {
    return folder_ / "runs" / name;
  }
};

TEST_F(RunFolderTest, EachRunGetsOneOfItsOwn) {
  const auto first = bare("--epochs 1");
  ASSERT_EQ(first.status, 0) << first.err;
  EXPECT_THAT(
      first.out, HasSubstr("log and plots: runs/fashion-mnist-cnn-sgd-1\n"));
  const auto log = read_text(run("fashion-mnist-cnn-sgd-1") / "steps.csv");
  ASSERT_EQ(bare("--epochs 1 --seed 2").status, 0);
  ASSERT_EQ(bare("--epochs 1 --optimizer adam").status, 0);
  EXPECT_TRUE(fs::exists(run("fashion-mnist-cnn-sgd-2") / "log.csv"));
  EXPECT_TRUE(fs::exists(run("fashion-mnist-cnn-adam-1") / "log.csv"));
  EXPECT_EQ(read_text(run("fashion-mnist-cnn-sgd-1") / "steps.csv"), log);
}

TEST_F(RunFolderTest, NumbersGoOnAfterTheLargest) {
  for (const auto* name :
       {"fashion-mnist-cnn-sgd-9",
        "fashion-mnist-cnn-sgd-x12",
        "fashion-mnist-cnn-sgd-12x",
        "fashion-mnist-cnn-sgd-99999999999999999999",
        "fashion-mnist-cnn-sgd--50"}) {
    fs::create_directories(run(name));
  }
  ASSERT_EQ(bare("--epochs 1").status, 0);
  EXPECT_TRUE(fs::exists(run("fashion-mnist-cnn-sgd-10") / "log.csv"));
}

TEST_F(RunFolderTest, ResumeGoesOnWithTheRunThatWasSavedLast) {
  ASSERT_EQ(bare("--epochs 1 --optimizer adam --schedule constant").status, 0);
  ASSERT_EQ(bare("--epochs 1").status, 0);
  // One that has saved nothing.
  fs::create_directories(run("fashion-mnist-cnn-sgd-2"));
  const auto now = fs::file_time_type::clock::now();
  for (const auto& file : fs::directory_iterator(
           run("fashion-mnist-cnn-adam-1") / "checkpoints")) {
    fs::last_write_time(file.path(), now + std::chrono::seconds(10));
  }
  const auto outcome = start("--resume --epochs 2");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(
      outcome.out,
      AllOf(
          HasSubstr("log and plots: runs/fashion-mnist-cnn-adam-1\n"),
          HasSubstr("goes on after 4 updates")));
}

TEST_F(RunFolderTest, ResumeSaysWhereThereIsNoRun) {
  const auto outcome = start("--resume");
  expect_refusal(outcome, 1);
  EXPECT_THAT(
      outcome.err,
      AllOf(HasSubstr("no run in runs has a checkpoint"), HasSubstr("--out")));
}

TEST_F(RunFolderTest, ARunThatCannotBeginLeavesNone) {
  expect_refusal(bare("--schedule 'cosin 3'"), 1);
  expect_refusal(bare("--export absent/w.pt"), 1);
  EXPECT_FALSE(fs::exists(folder_ / "runs"));
}

TEST_F(RunFolderTest, SaysWhereNoneCanBeMade) {
  write_plain(folder_ / "runs", {});
  const auto outcome = bare("--epochs 1");
  expect_refusal(outcome, 1);
  EXPECT_THAT(
      outcome.err, HasSubstr("cannot make a folder for the run in runs"));
}

}  // namespace
}  // namespace stepsize::trainer
