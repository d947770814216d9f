// Runs the program as a user does: exit statuses, messages, files.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include "sample_files.h"

namespace stepsize::trainer {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

struct Outcome {
  int status = -1;
  std::string out;
  std::string err;
};

class StepsizeTrainTest : public testing::Test {
 protected:
  void SetUp() override { write_bars(data(), 60, 40); }

  fs::path data() const { return folder_ / "data"; }
  fs::path out() const { return folder_ / "run"; }

  // A run on the small set that ends in a moment; `more` comes last.
  Outcome train(const std::string& more) const {
    return start(
        "--data-dir '" + data().string() + "' --out '" + out().string() +
        "' --batch-size 16 --threads 1 --epochs 2 " + more);
  }

  Outcome start(const std::string& arguments) const {
    const auto out_file = folder_ / "stdout";
    const auto err_file = folder_ / "stderr";
    const std::string command = std::string("'") + STEPSIZE_TRAIN + "' " +
                                arguments + " > '" + out_file.string() +
                                "' 2> '" + err_file.string() + "'";
    const int status = std::system(command.c_str());
    return {
        WIFEXITED(status) ? WEXITSTATUS(status) : -1,
        read_text(out_file),
        read_text(err_file)};
  }

  // A message for a person, before any training.
  static void expect_refusal(const Outcome& outcome, int status) {
    EXPECT_EQ(outcome.status, status) << outcome.err;
    EXPECT_THAT(outcome.err, Not(HasSubstr("frame #")));
    EXPECT_THAT(outcome.err, Not(HasSubstr("Exception raised")));
    EXPECT_THAT(outcome.err, Not(HasSubstr("terminate")));
    EXPECT_THAT(outcome.out, Not(HasSubstr("train loss")));
  }

  TemporaryFolder folder_;
};

// log.csv without its last column, images_per_second.
std::string timeless(const fs::path& path) {
  std::istringstream in(read_text(path));
  std::string result;
  for (std::string line; std::getline(in, line);) {
    result += line.substr(0, line.rfind(',')) + '\n';
  }
  return result;
}

TEST_F(StepsizeTrainTest, LearnsAndLeavesLogAndPlots) {
  const auto outcome = train("--epochs 6 --profile");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  // A bar's place tells the classes apart: all 40 can be told.
  EXPECT_THAT(outcome.out, HasSubstr("test accuracy 100%"));
  EXPECT_THAT(outcome.out, HasSubstr("input"));
  EXPECT_THAT(outcome.out, Not(HasSubstr("\r")));
  EXPECT_EQ(outcome.err, "");
  EXPECT_THAT(
      read_text(out() / "log.csv"),
      HasSubstr("epoch,step,lr,train_loss,train_accuracy,test_loss,"
                "test_accuracy,images_per_second\n1,4,"));
  for (const auto* name :
       {"lr.svg", "loss.svg", "accuracy.svg", "gradient.svg"}) {
    EXPECT_THAT(read_text(out() / name), HasSubstr("</svg>")) << name;
  }
}

TEST_F(StepsizeTrainTest, SameSeedGivesTheSameLog) {
  const std::string changes = "--augment crop-flip --seed ";
  ASSERT_EQ(train(changes + "7").status, 0);
  const auto log = timeless(out() / "log.csv");
  const auto steps = read_text(out() / "steps.csv");
  ASSERT_EQ(train(changes + "7").status, 0);
  EXPECT_EQ(timeless(out() / "log.csv"), log);
  EXPECT_EQ(read_text(out() / "steps.csv"), steps);
  ASSERT_EQ(train(changes + "8").status, 0);
  EXPECT_NE(read_text(out() / "steps.csv"), steps);
}

TEST_F(StepsizeTrainTest, FollowsTheSchedule) {
  ASSERT_EQ(train("--lr 0.5 --schedule 'linear 4 to 0.5'").status, 0);
  std::istringstream in(read_text(out() / "steps.csv"));
  std::string line;
  std::getline(in, line);
  for (const auto* rate :
       {"0.5", "0.4375", "0.375", "0.3125", "0.25", "0.25", "0.25", "0.25"}) {
    ASSERT_TRUE(std::getline(in, line));
    const auto first = line.find(',') + 1;
    EXPECT_EQ(line.substr(first, line.find(',', first) - first), rate);
  }
}

TEST_F(StepsizeTrainTest, TrainsOnTheFirstImagesOnly) {
  const auto outcome = train("--limit-train 20");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("20 training and 40 test images"));
  EXPECT_THAT(outcome.out, HasSubstr("4 updates of 16"));
}

TEST_F(StepsizeTrainTest, WarnsOfAnOddScheduleBeforeTheRun) {
  const auto outcome = train("--schedule 'cosine 1000'");
  EXPECT_EQ(outcome.status, 0);
  EXPECT_THAT(outcome.err, HasSubstr("warning: schedule: "));
}

TEST_F(StepsizeTrainTest, SaysAtWhichUpdateAndRateTheLossDiverged) {
  const auto outcome = train("--lr 1e20 --schedule constant --epochs 5");
  EXPECT_EQ(outcome.status, 3) << outcome.out;
  EXPECT_THAT(
      outcome.err,
      AllOf(
          HasSubstr("diverged"),
          HasSubstr("at update "),
          HasSubstr("1e+20"),
          Not(HasSubstr("frame #"))));
  EXPECT_TRUE(fs::exists(out() / "loss.svg"));
}

TEST_F(StepsizeTrainTest, RefusesMissingFolder) {
  const auto absent = (folder_ / "absent").string();
  const auto outcome = train("--data-dir '" + absent + "'");
  expect_refusal(outcome, 1);
  EXPECT_THAT(
      outcome.err, AllOf(HasSubstr(absent), HasSubstr("does not exist")));
  EXPECT_FALSE(fs::exists(out()));
}

TEST_F(StepsizeTrainTest, RefusesTruncatedFile) {
  fs::resize_file(data() / "train-images-idx3-ubyte", 1000);
  const auto outcome = train("");
  expect_refusal(outcome, 1);
  EXPECT_THAT(
      outcome.err,
      AllOf(HasSubstr("train-images-idx3-ubyte"), HasSubstr("truncated")));
}

TEST_F(StepsizeTrainTest, RefusesForeignFile) {
  write_plain(data() / "t10k-images-idx3-ubyte", Bytes{'P', 'N', 'G', 1, 2, 3});
  const auto outcome = train("");
  expect_refusal(outcome, 1);
  EXPECT_THAT(
      outcome.err,
      AllOf(HasSubstr("t10k-images-idx3-ubyte"), HasSubstr("not an IDX")));
}

TEST_F(StepsizeTrainTest, RefusesLabelOutOfRange) {
  write_plain(
      data() / "t10k-labels-idx1-ubyte", idx(0x801, {40}, Bytes(40, 10)));
  const auto outcome = train("");
  expect_refusal(outcome, 1);
  EXPECT_THAT(
      outcome.err,
      AllOf(HasSubstr("t10k-labels-idx1-ubyte"), HasSubstr("is 10")));
}

TEST_F(StepsizeTrainTest, PointsAtTheMistakeInASchedule) {
  const auto outcome = train("--schedule 'warmup 10% > cosin 90%'");
  expect_refusal(outcome, 1);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("cosin"), HasSubstr("^")));
  EXPECT_FALSE(fs::exists(out()));
}

TEST_F(StepsizeTrainTest, FindsBeforeTrainingThatItCannotWrite) {
  write_plain(out(), {});  // a file has the folder's name
  const auto outcome = train("");
  expect_refusal(outcome, 1);
  EXPECT_THAT(outcome.err, HasSubstr(out().string()));
}

TEST_F(StepsizeTrainTest, RefusesUnknownDevice) {
  // A name that is none, and a device without values.
  for (const std::string device : {"abacus", "meta"}) {
    const auto outcome = train("--device " + device);
    expect_refusal(outcome, 1);
    EXPECT_THAT(outcome.err, HasSubstr("--device " + device));
  }
}

TEST_F(StepsizeTrainTest, RefusesUnknownOption) {
  const auto outcome = train("--momentun 0.9");
  expect_refusal(outcome, 2);
  EXPECT_THAT(outcome.err, HasSubstr("--momentun"));
}

}  // namespace
}  // namespace stepsize::trainer
