// Runs the program as a user does: exit statuses, messages, files.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <ios>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "sample_files.h"
#include "train_program.h"

namespace stepsize::trainer {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class StepsizeTrainTest : public TrainProgramTest {};

TEST_F(StepsizeTrainTest, LearnsAndLeavesLogAndPlots) {
  const auto outcome = start_by_shell(arguments("--epochs 6 --profile"));
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

TEST_F(StepsizeTrainTest, FindsTheRateAndTrainsWithIt) {
  const auto outcome = train("--lr auto --schedule constant --epochs 6");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("range test: "));
  EXPECT_THAT(outcome.out, HasSubstr("suggested"));
  EXPECT_THAT(read_text(out() / "lr_range.svg"), HasSubstr("</svg>"));
  EXPECT_THAT(
      read_text(out() / "report.html"),
      HasSubstr("<title>Learning rate range test</title>"));
  EXPECT_GT(column(out() / "lr_range.csv", "lr").size(), 30U);
  // The test has left no trace: a run at that rate is the same run.
  const auto log = timeless(out() / "log.csv");
  const auto rate = column(out() / "steps.csv", "lr").front();
  ASSERT_EQ(
      train("--lr " + rate + " --schedule constant --epochs 6").status, 0);
  EXPECT_EQ(timeless(out() / "log.csv"), log);
  // Files of an earlier run do not stay.
  EXPECT_FALSE(fs::exists(out() / "lr_range.svg"));
}

// A line that the terminal wraps stays there, and the next one comes below.
TEST_F(StepsizeTrainTest, DrawsNoLineThatANarrowTerminalWraps) {
  if (std::system("script -qec true /dev/null < /dev/null > /dev/null 2>&1") !=
      0) {
    GTEST_SKIP() << "script cannot make a terminal";
  }
  const auto shown = folder_ / "shown";
  const std::string command =
      "script -qec \"stty cols 40; exec '" STEPSIZE_TRAIN "' " +
      arguments("--lr auto") + "\" /dev/null > '" + shown.string() +
      "' < /dev/null";
  ASSERT_EQ(std::system(command.c_str()), 0) << read_text(shown);
  // What is drawn over comes between a return and the end of the line's rest.
  const std::string text = read_text(shown);
  const std::regex pattern("\r([^\r\n\x1b]*)\x1b\\[K");
  int count = 0;
  for (std::sregex_iterator at(text.begin(), text.end(), pattern), end;
       at != end;
       ++at) {
    EXPECT_LE((*at)[1].length(), 39) << (*at)[1];
    ++count;
  }
  EXPECT_GT(count, 30);
}

TEST_F(StepsizeTrainTest, DoesARangeTestAndNoMore) {
  const auto outcome = train("--lr-find");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(
      outcome.out,
      AllOf(
          HasSubstr("Learning rate range test"),
          HasSubstr("suggested"),
          HasSubstr("lr_range.svg"),
          Not(HasSubstr("train loss"))));
  EXPECT_TRUE(fs::exists(out() / "lr_range.csv"));
  EXPECT_FALSE(fs::exists(out() / "log.csv"));
}

TEST_F(StepsizeTrainTest, SearchesForARateAndTrainsAtIt) {
  const auto outcome = train("--search 4");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(
      outcome.out,
      AllOf(HasSubstr("search: 4 trials of "), HasSubstr("taken ")));
  EXPECT_THAT(
      read_text(out() / "lr_search.svg"), HasSubstr("95% band of the mean"));
  const auto losses = column(out() / "lr_search.csv", "loss");
  const auto rates = column(out() / "lr_search.csv", "lr");
  ASSERT_EQ(losses.size(), 4U);
  std::size_t best = 0;
  for (std::size_t i = 1; i < losses.size(); ++i) {
    if (std::stod(losses[i]) < std::stod(losses[best])) best = i;
  }
  // The search leaves no trace in the run.
  const auto steps = read_text(out() / "steps.csv");
  ASSERT_EQ(train("--no-lr-check --overwrite --lr " + rates[best]).status, 0);
  EXPECT_EQ(read_text(out() / "steps.csv"), steps);
}

TEST_F(StepsizeTrainTest, GoesOnWithASearchThatWasKilled) {
  ASSERT_EQ(train("--search 4").status, 0);
  const auto table = read_text(out() / "lr_search.csv");
  const auto journal = read_text(out() / "lr_search.jsonl");
  const auto other = folder_ / "other";
  const auto search_from = [&](const std::string& text,
                               const std::string& more) {
    fs::remove_all(other);
    fs::create_directories(other);
    std::ofstream(other / "lr_search.jsonl", std::ios::binary) << text;
    return start(
        "--data-dir '" + data().string() + "' --out '" + other.string() +
        "' --batch-size 16 --threads 1 --epochs 2 --search 4 " + more);
  };
  const auto outcome =
      search_from(journal.substr(0, journal.size() * 2 / 3), "");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(read_text(other / "lr_search.csv"), table);
  // That of another run is refused, unless it is to be replaced.
  const auto refused = search_from(journal, "--momentum 0.5");
  expect_refusal(refused, 1);
  EXPECT_THAT(refused.err, HasSubstr("the journal of another search: label"));
  EXPECT_EQ(search_from(journal, "--momentum 0.5 --overwrite").status, 0);
}

TEST_F(StepsizeTrainTest, WarnsOfARateThatWillDiverge) {
  EXPECT_THAT(
      train("--lr 1000").err,
      HasSubstr("warning: --lr 1000 is likely to diverge"));
  EXPECT_THAT(
      train("--lr 1000 --no-lr-check").err, Not(HasSubstr("warning: --lr")));
  EXPECT_EQ(train("--lr 0.01").err, "");
  // A few times what the network bears, and one that comes from scaling.
  EXPECT_THAT(
      train("--lr 2").err, HasSubstr("warning: --lr 2 is likely to diverge"));
  EXPECT_THAT(
      train("--base-batch-size 1 --lr 0.2 --epochs 4").err,
      HasSubstr("warning: --lr 0.2 at batch 1, 3.2 at batch 16, is likely"));
  EXPECT_THAT(
      train("--lr 1000 --lr-find").err,
      HasSubstr("warning: --lr 1000 is past the rate"));
}

TEST_F(StepsizeTrainTest, TakesNoMoreThanAnEpochForABatch) {
  const auto outcome = train(
      "--batch-size 1000 --base-batch-size 30 --lr 0.01 --accumulate 7 "
      "--schedule constant");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(
      outcome.out,
      AllOf(
          HasSubstr("--batch-size 1000: a batch is all 60 images"),
          HasSubstr("--accumulate 7: an epoch has 1 micro-batch\n"),
          HasSubstr("lr 0.02 (0.01 at batch 30, linear)"),
          HasSubstr("2 updates of 60 images")));
}

TEST_F(StepsizeTrainTest, ScalesTheRateWithTheBatch) {
  const std::string base = "--no-lr-check --schedule constant --lr 0.01 ";
  auto outcome = train(base + "--base-batch-size 4");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(column(out() / "steps.csv", "lr").front(), "0.04");
  EXPECT_THAT(outcome.out, HasSubstr("lr 0.04 (0.01 at batch 4, linear)"));
  outcome =
      train(base + "--base-batch-size 2 --accumulate 2 --lr-scaling sqrt");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(column(out() / "steps.csv", "lr").front(), "0.04");
}

TEST_F(StepsizeTrainTest, LogsTheNoiseScaleOfAccumulatedBatches) {
  const auto outcome = train("--accumulate 2 --batch-size 8 --epochs 3");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("12 updates of 16 images"));
  EXPECT_THAT(outcome.out, HasSubstr("sgd: noise scale"));
  const auto noise = column(out() / "steps.csv", "noise_scale");
  ASSERT_EQ(noise.size(), 12U);
  EXPECT_NE(noise.back(), "");
  EXPECT_EQ(column(out() / "steps.csv", "batch").front(), "16");
  // 60 images are three updates of 16 and one of 12.
  EXPECT_EQ(column(out() / "steps.csv", "batch")[3], "12");
  EXPECT_THAT(read_text(out() / "batch.svg"), HasSubstr("</svg>"));
}

TEST_F(StepsizeTrainTest, GrowsTheBatchInPlaceOfADecay) {
  const auto outcome = train(
      "--batch-size 4 --batch-schedule 16 --epochs 4 "
      "--schedule 'multi_step 15 gamma 0.25'");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("of 4 to 16 images"));
  const auto batches = column(out() / "steps.csv", "batch");
  const auto rates = column(out() / "steps.csv", "lr");
  // One epoch of 15 updates of 4 images, then four times the batch at the rate
  // of before: 4 updates an epoch, the last one of 12 images.
  ASSERT_EQ(batches.size(), 15U + 3 * 4);
  EXPECT_EQ(batches[14], "4");
  EXPECT_EQ(batches[15], "16");
  EXPECT_EQ(rates[15], rates[14]);
  EXPECT_NEAR(std::stod(rates.back()), std::stod(rates[15]) * 12 / 16, 1e-12);
}

TEST_F(StepsizeTrainTest, StopsEarlyAndKeepsTheBestWeights) {
  // After some epochs the loss is as good as zero and rises now and then.
  const auto outcome = train("--early-stop 2 --epochs 40");
  EXPECT_THAT(
      outcome.out,
      AllOf(
          HasSubstr("stopped early after "),
          HasSubstr("the test loss was lowest in epoch ")))
      << outcome.err;
  const auto losses = column(out() / "log.csv", "test_loss");
  EXPECT_LT(losses.size(), 40U);
}

TEST_F(StepsizeTrainTest, TestsSnapshotsTogether) {
  const auto outcome = train("--ensemble 3 --epochs 3");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  EXPECT_THAT(
      outcome.out,
      AllOf(
          HasSubstr("\nensemble  "),
          HasSubstr("\nmean of their weights  "),
          HasSubstr("accuracy.svg ensemble.csv")));
  const auto accuracies = column(out() / "ensemble.csv", "test_accuracy");
  ASSERT_EQ(accuracies.size(), 5U);
  // A cycle is an epoch here, and each ends with a test.
  const auto tests = column(out() / "log.csv", "test_accuracy");
  EXPECT_EQ(
      std::vector<std::string>(accuracies.begin(), accuracies.begin() + 3),
      tests);
  // A run that was stopped in the test of its snapshots tests them again.
  const auto table = read_text(out() / "ensemble.csv");
  fs::remove(out() / "ensemble.csv");
  const auto again = start("--resume --out '" + out().string() + "'");
  EXPECT_EQ(again.status, 0) << again.err;
  EXPECT_EQ(read_text(out() / "ensemble.csv"), table);
  // Its checkpoint is tested without the snapshots.
  const auto evaluated = start(
      "--evaluate '" + (out() / "checkpoints" / "best.ckpt").string() + "'");
  EXPECT_EQ(evaluated.status, 0) << evaluated.err;
  // The table of an earlier run does not pass for a later one's.
  ASSERT_EQ(train("--overwrite").status, 0);
  EXPECT_FALSE(fs::exists(out() / "ensemble.csv"));
}

TEST_F(StepsizeTrainTest, WarnsOfAScheduleWithOtherCycles) {
  const auto outcome = train("--ensemble 2 --schedule cosine");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(
      outcome.err,
      AllOf(HasSubstr("it has 1 cycle"), HasSubstr("--ensemble is 2")));
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
  const auto outcome =
      start_by_shell(arguments("--lr 1e20 --schedule constant --epochs 5"));
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
  const auto outcome = start_by_shell(arguments("--momentun 0.9"));
  expect_refusal(outcome, 2);
  EXPECT_THAT(outcome.err, HasSubstr("--momentun"));
}

// What it advises can be done.
TEST_F(StepsizeTrainTest, AdvisesNoRangeTestWhereThereIsNoRateToFind) {
  const auto factor = train("--optimizer dog --lr 1e25 --epochs 5");
  EXPECT_EQ(factor.status, 3) << factor.err;
  EXPECT_THAT(
      factor.err,
      AllOf(
          HasSubstr("Try a lower --lr or a longer"),
          Not(HasSubstr("--lr auto"))));
  const auto rate = train(
      "--overwrite --no-lr-check --lr 1e20 --schedule constant --epochs 5");
  EXPECT_EQ(rate.status, 3) << rate.err;
  EXPECT_THAT(rate.err, HasSubstr("Try a lower --lr, --lr auto or"));
}

}  // namespace
}  // namespace stepsize::trainer
