// Runs of the program that are killed, stopped and gone on with, as a user
// does.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <optional>
#include <random>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "examples/trainer/loop/choose_lr.h"
#include "examples/trainer/loop/run_schedule.h"
#include "examples/trainer/loop/watched_curvature.h"
#include "examples/trainer/run/run_checkpoints.h"
#include "examples/trainer/run/run_folder.h"
#include "sample_files.h"
#include "train_program.h"

namespace stepsize::trainer {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class ResumedRunTest : public TrainProgramTest {
 protected:
  std::string to_resume(const fs::path& run) const {
    return "--resume --out '" + run.string() + "' ";
  }

  // The names of a run's checkpoints.
  static std::vector<std::string> checkpoints_of(const fs::path& run) {
    std::vector<std::string> names;
    if (fs::exists(checkpoint_folder(run))) {
      for (const auto& entry : fs::directory_iterator(checkpoint_folder(run))) {
        names.push_back(entry.path().filename().string());
      }
    }
    std::sort(names.begin(), names.end());
    return names;
  }
};

// Parameters and buffers of a run's last checkpoint.
std::vector<torch::Tensor> last_weights(const fs::path& run) {
  std::ostringstream err;
  const auto record = read_record(run, err);
  const auto options = options_from(record.options);
  const auto model = make_model(options.model, {1, kBarsSide, kBarsSide, 10});
  const auto optimizer =
      make_optimizer(*model, optimizer_choice(options, record.lr));
  auto images =
      load_sets("fashion-mnist", record.options.at("--data-dir")).train;
  if (options.limit_train > 0) {
    images.images = images.images.narrow(0, 0, options.limit_train);
    images.labels = images.labels.narrow(0, 0, options.limit_train);
  }
  const auto run_schedule = plan_schedule(options, images.size(), err);
  ScheduleLR scheduler(optimizer->inner(), run_schedule.factor);
  BatchSourceOptions source;
  source.batch_size = options.batch_size;
  BatchSource train(images, {{1}, {0}}, source, torch::kCPU);
  TrainingState state;
  std::optional<EarlyStopping> stopping;
  if (options.early_stop > 0) {
    stopping.emplace(
        *model, EarlyStoppingOptions().patience(options.early_stop - 1));
  }
  auto monitor = make_monitor(*optimizer, options);
  SnapshotEnsemble ensemble(*model, SnapshotEnsembleOptions().max_snapshots(9));
  RunCheckpoints(
      run,
      {*model,
       *optimizer,
       scheduler,
       train,
       state,
       stopping ? &*stopping : nullptr,
       monitor ? &*monitor : nullptr,
       options.ensemble > 0 ? &ensemble : nullptr},
      record)
      .load();
  auto weights = model->parameters();
  const auto buffers = model->buffers();
  weights.insert(weights.end(), buffers.begin(), buffers.end());
  return weights;
}

struct KilledRun {
  const char* name;
  const char* options;
  std::int64_t updates;
};

class KilledRunTest : public ResumedRunTest,
                      public testing::WithParamInterface<KilledRun> {};

TEST_P(KilledRunTest, EndsBitForBitAsIfNothingHadHappened) {
  const std::string options =
      std::string("--no-lr-check --checkpoint-every 2 ") + GetParam().options;
  const auto whole = train(options);
  ASSERT_EQ(whole.status, 0) << whole.err;
  const auto killed = folder_ / "killed";
  const std::string to_killed = " --out '" + killed.string() + "'";
  // A new place each time, the same for all who run this test.
  std::mt19937 random(static_cast<unsigned>(GetParam().updates));
  const auto some_row = [&] {
    return std::uniform_int_distribution<std::int64_t>(
        4, GetParam().updates - 1)(random);
  };
  auto outcome = start_and_signal(
      arguments(options) + to_killed, killed, some_row(), SIGKILL);
  EXPECT_EQ(outcome.status, 128 + SIGKILL) << outcome.err;
  outcome = start(to_resume(killed));
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("goes on after "));
  // The rate is that of before, and a rollback is one.
  EXPECT_THAT(outcome.out, Not(HasSubstr("range test")));
  EXPECT_THAT(outcome.out, Not(HasSubstr(" 0 rollbacks")));
  EXPECT_EQ(read_text(killed / "steps.csv"), read_text(out() / "steps.csv"));
  EXPECT_EQ(timeless(killed / "log.csv"), timeless(out() / "log.csv"));
  ASSERT_EQ(
      fs::exists(killed / "curvature.csv"),
      fs::exists(out() / "curvature.csv"));
  if (fs::exists(out() / "curvature.csv")) {
    EXPECT_EQ(
        read_text(killed / "curvature.csv"),
        read_text(out() / "curvature.csv"));
    EXPECT_EQ(
        read_text(killed / "sharpness.svg"),
        read_text(out() / "sharpness.svg"));
  }
  EXPECT_EQ(
      column(killed / "steps.csv", "step").size(),
      static_cast<std::size_t>(GetParam().updates));
  const auto weights = last_weights(killed);
  const auto wanted = last_weights(out());
  ASSERT_EQ(weights.size(), wanted.size());
  for (std::size_t i = 0; i < weights.size(); ++i) {
    EXPECT_TRUE(torch::equal(weights[i], wanted[i])) << i;
  }
  // What is said of the optimizer and of the result counts from the start.
  const auto end_of = [](const std::string& text) {
    const auto line = text.find('\n', text.rfind("test accuracy"));
    // The folders have other names.
    return text.substr(line, text.find("files in ") - line);
  };
  EXPECT_EQ(end_of(outcome.out), end_of(whole.out));
}

INSTANTIATE_TEST_SUITE_P(
    Optimizers,
    KilledRunTest,
    testing::Values(
        KilledRun{"Sgd", "--augment crop-flip --early-stop 1", 8},
        KilledRun{
            "GrowingBatch",
            "--optimizer adamw --batch-size 4 "
            "--batch-schedule 16 --schedule 'multi_step 15 gamma .1'",
            19},
        KilledRun{
            "Accumulated",
            "--optimizer clipped-adamw --batch-size 4 --accumulate 3",
            10},
        KilledRun{"Autocast", "--amp bf16", 8},
        KilledRun{"Lion", "--optimizer lion", 8},
        KilledRun{"Rollback", "--optimizer rollback-sgd --lr 3", 8},
        KilledRun{"Ascent", "--optimizer sam-sgd", 8},
        KilledRun{"Layers", "--optimizer lamb", 8},
        KilledRun{"Learned", "--optimizer hypergradient-adam", 8},
        KilledRun{
            "ScheduleFree",
            "--optimizer schedule-free-adamw --early-stop 1",
            8},
        KilledRun{"Estimated", "--optimizer prodigy", 8},
        KilledRun{"Distance", "--optimizer dog", 8},
        KilledRun{"Orthogonal", "--optimizer muon", 8},
        KilledRun{"Diagonal", "--optimizer adahessian", 8},
        KilledRun{
            "EightBitState", "--optimizer clipped-adamw --state-type 8bit", 8},
        KilledRun{"FoundRate", "--lr auto", 8},
        KilledRun{"Measured", "--optimizer power-sgd --policy sharpness", 8},
        KilledRun{"AtTheEdge", "--optimizer power-sgd", 8},
        KilledRun{"Watched", "--monitor curvature --monitor-every 3", 8},
        KilledRun{
            "MeasuredAndWatched",
            "--optimizer power-sgd --policy sharpness --monitor curvature "
            "--monitor-every 1",
            8},
        KilledRun{
            "Ensemble",
            "--ensemble 2 --model resnet20 --limit-train 40 --batch-size 8",
            10},
        KilledRun{
            "BatchNorm",
            "--model resnet20 --limit-train 40 "
            "--batch-size 8 --augment flip",
            10}),
    [](const auto& test) { return std::string(test.param.name); });

TEST_F(ResumedRunTest, StopsInGoodOrderAndGoesOn) {
  const std::string options = "--no-lr-check --epochs 3";
  ASSERT_EQ(train(options).status, 0);
  const auto steps = read_text(out() / "steps.csv");
  const auto log = timeless(out() / "log.csv");
  for (const auto& [signal, name] :
       {std::pair(SIGINT, "Ctrl-C"), std::pair(SIGTERM, "SIGTERM")}) {
    const auto run = folder_ / name;
    const auto outcome = start_and_signal(
        arguments(options) + " --out '" + run.string() + "'", run, 5, signal);
    EXPECT_EQ(outcome.status, 128 + signal);
    EXPECT_THAT(
        outcome.err,
        AllOf(
            HasSubstr(std::string("stopped by ") + name + " after update "),
            HasSubstr("\nsaved in "),
            HasSubstr("--resume --out " + run.string())));
    EXPECT_THAT(read_text(run / "loss.svg"), HasSubstr("</svg>"));
    // Nothing was trained that was not saved.
    const auto rows = column(run / "steps.csv", "step").size();
    std::ostringstream err;
    EXPECT_EQ(read_record(run, err).step, static_cast<std::int64_t>(rows));
    ASSERT_EQ(start(to_resume(run)).status, 0);
    EXPECT_EQ(read_text(run / "steps.csv"), steps);
    EXPECT_EQ(timeless(run / "log.csv"), log);
  }
}

TEST_F(ResumedRunTest, CanBeMadeLongerTwiceAndKilledInBetween) {
  ASSERT_EQ(
      train("--no-lr-check --checkpoint-every 3 --schedule 'cosine to .1'")
          .status,
      0);
  auto outcome = start(to_resume(out()) + "--epochs 3");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  const auto killed = folder_ / "killed";
  fs::copy(out(), killed, fs::copy_options::recursive);
  outcome = start(to_resume(out()) + "--epochs 5");
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  // 4 updates an epoch, each in its row.
  std::vector<std::string> updates;
  for (int update = 1; update <= 20; ++update) {
    updates.push_back(std::to_string(update));
  }
  EXPECT_EQ(column(out() / "steps.csv", "step"), updates);
  outcome =
      start_and_signal(to_resume(killed) + "--epochs 5", killed, 16, SIGKILL);
  EXPECT_EQ(outcome.status, 128 + SIGKILL) << outcome.err;
  // Nobody says again how long it is to be.
  outcome = start(to_resume(killed));
  ASSERT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(read_text(killed / "steps.csv"), read_text(out() / "steps.csv"));
  EXPECT_EQ(timeless(killed / "log.csv"), timeless(out() / "log.csv"));
}

TEST_F(ResumedRunTest, ChecksOptionsDataAndLog) {
  ASSERT_EQ(train("--no-lr-check --checkpoint-every 3").status, 0);
  EXPECT_THAT(
      checkpoints_of(out()),
      ElementsAre(
          "best.ckpt",
          "checkpoint-0000000006.ckpt",
          "checkpoint-0000000008.ckpt"));
  const auto steps = read_text(out() / "steps.csv");
  const auto log = read_text(out() / "log.csv");
  // A run that has ended.
  const auto ended = start(to_resume(out()));
  EXPECT_EQ(ended.status, 0) << ended.err;
  EXPECT_THAT(ended.out, HasSubstr("has ended after 2 epochs"));
  // Another run.
  auto outcome = start(to_resume(out()) + "--batch-size 20");
  expect_refusal(outcome, 1);
  EXPECT_THAT(
      outcome.err,
      AllOf(HasSubstr("--batch-size 20"), HasSubstr("--batch-size 16")));
  // Other images.
  fs::remove(checkpoint_folder(out()) / "checkpoint-0000000008.ckpt");
  const auto other = folder_ / "other";
  write_bars(other, 60, 41);
  outcome = start(to_resume(out()) + "--data-dir '" + other.string() + "'");
  expect_refusal(outcome, 1);
  EXPECT_THAT(
      outcome.err,
      AllOf(HasSubstr("60 training and 41 test"), HasSubstr("and 40 test")));
  // A log that has lost its rows.
  write_plain(out() / "steps.csv", Bytes(steps.begin(), steps.begin() + 150));
  outcome = start(to_resume(out()));
  expect_refusal(outcome, 1);
  EXPECT_THAT(outcome.err, HasSubstr((out() / "steps.csv").string()));
  EXPECT_EQ(read_text(out() / "log.csv"), log);
  // All is as it was: the same images elsewhere will do.
  write_plain(out() / "steps.csv", Bytes(steps.begin(), steps.end()));
  const auto moved = folder_ / "moved";
  fs::rename(data(), moved);
  outcome = start(to_resume(out()) + "--data-dir '" + moved.string() + "'");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_EQ(read_text(out() / "steps.csv"), steps);
}

// What the program advises where more epochs are refused can be done.
TEST_F(ResumedRunTest, AdvisesWhatWorks) {
  ASSERT_EQ(train("--no-lr-check").status, 0);
  const auto newest = checkpoint_folder(out()) / "checkpoint-0000000008.ckpt";
  const auto advice =
      "To go on from the checkpoint before it remove " + newest.string();
  const auto bare = start(to_resume(out()));
  EXPECT_EQ(bare.status, 0) << bare.err;
  EXPECT_THAT(
      bare.out,
      AllOf(HasSubstr("at a rate of 0, and more"), HasSubstr(advice)));
  const auto refused = start(to_resume(out()) + "--epochs 4");
  expect_refusal(refused, 1);
  EXPECT_THAT(refused.err, HasSubstr(advice));
  fs::remove(newest);
  const auto longer = start(to_resume(out()) + "--epochs 4");
  EXPECT_EQ(longer.status, 0) << longer.err;
  EXPECT_EQ(column(out() / "log.csv", "epoch").size(), 4U);
}

TEST_F(ResumedRunTest, AdvisesANewRunAfterOneEpoch) {
  ASSERT_EQ(train("--no-lr-check --epochs 1").status, 0);
  const auto advice = "no earlier checkpoint to go on from: begin a new run";
  EXPECT_THAT(start(to_resume(out())).out, HasSubstr(advice));
  const auto refused = start(to_resume(out()) + "--epochs 4");
  expect_refusal(refused, 1);
  EXPECT_THAT(refused.err, HasSubstr(advice));
}

TEST_F(ResumedRunTest, PassesADamagedCheckpointOver) {
  ASSERT_EQ(train("--no-lr-check --checkpoint-every 3").status, 0);
  const auto steps = read_text(out() / "steps.csv");
  const auto newest = checkpoint_folder(out()) / "checkpoint-0000000008.ckpt";
  {
    std::fstream file(newest, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(fs::file_size(newest) / 2));
    file.put('\x55').put('\x2a').put('\x55');
  }
  // The run has ended, says the damaged one: it is not believed.
  std::ostringstream err;
  const auto record = read_record(out(), err);
  EXPECT_EQ(record.step, 6);
  EXPECT_EQ(record.epochs_done, 1);
  EXPECT_THAT(err.str(), HasSubstr(newest.string() + " is passed over: "));
  const auto outcome = start(to_resume(out()) + "--epochs 3");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(
      outcome.err, AllOf(HasSubstr("warning: "), HasSubstr(newest.string())));
  EXPECT_THAT(outcome.out, HasSubstr("goes on after 6 updates"));
  EXPECT_EQ(column(out() / "steps.csv", "step").size(), 12U);
  EXPECT_EQ(column(out() / "log.csv", "epoch").size(), 3U);
  // The first six rows are those of before.
  const auto seventh = steps.find("\n7,");
  EXPECT_EQ(
      read_text(out() / "steps.csv").substr(0, seventh),
      steps.substr(0, seventh));
}

TEST_F(ResumedRunTest, NeedsACheckpoint) {
  auto outcome = start(to_resume(out()));
  expect_refusal(outcome, 1);
  EXPECT_THAT(outcome.err, HasSubstr("there is no checkpoint in "));
  EXPECT_FALSE(fs::exists(out()));
  ASSERT_EQ(train("--no-lr-check --checkpoint-every 0 --epochs 1").status, 0);
  EXPECT_THAT(checkpoints_of(out()), IsEmpty());
}

TEST_F(ResumedRunTest, StartsAnewWithoutTheCheckpointsOfBefore) {
  ASSERT_EQ(train("--no-lr-check").status, 0);
  const auto steps = read_text(out() / "steps.csv");
  const auto names = checkpoints_of(out());
  // Only where that is asked for.
  const auto outcome = start(
      "--data-dir '" + data().string() + "' --out '" + out().string() +
      "' --lr auto");
  expect_refusal(outcome, 1);
  EXPECT_THAT(
      outcome.err,
      HasSubstr(
          "--out " + out().string() +
          ": holds the run of cnn on fashion-mnist, saved after 8 updates; go "
          "on with --resume, or replace it with --overwrite"));
  EXPECT_EQ(read_text(out() / "steps.csv"), steps);
  EXPECT_EQ(checkpoints_of(out()), names);
  EXPECT_FALSE(fs::exists(out() / "lr_range.csv"));
  {
    // Nor does another process that is at it lose its run.
    const RunLock lock(out());
    const auto second = train("--no-lr-check --epochs 1");
    expect_refusal(second, 1);
    EXPECT_THAT(second.err, HasSubstr("another process is training there"));
    EXPECT_EQ(checkpoints_of(out()), names);
  }
  ASSERT_EQ(train("--no-lr-check --epochs 1").status, 0);
  EXPECT_THAT(
      checkpoints_of(out()),
      ElementsAre("best.ckpt", "checkpoint-0000000004.ckpt"));
}

TEST_F(ResumedRunTest, TrainsOnWhereItCannotSave) {
  // No file may have more than 100 kB, as on a full disk.
  const auto outcome = start_by_shell(
      arguments("--no-lr-check --epochs 1"), "trap '' XFSZ; ulimit -f 200;");
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("test accuracy"));
  EXPECT_THAT(
      outcome.err,
      AllOf(
          HasSubstr("warning: a checkpoint could not be saved, and the run "
                    "goes on: "),
          HasSubstr("warning: the last checkpoint could not be saved; there "
                    "is none")));
  EXPECT_THAT(checkpoints_of(out()), IsEmpty());
}

TEST_F(ResumedRunTest, FindsBeforeTrainingThatAFileIsInTheWay) {
  fs::create_directories(out());
  write_plain(out() / "checkpoints", {});
  const auto outcome = train("--no-lr-check");
  expect_refusal(outcome, 1);
  EXPECT_THAT(outcome.err, HasSubstr((out() / "checkpoints").string()));
}

TEST_F(ResumedRunTest, SavesNoStateThatHasDiverged) {
  // The sixth update ruins the weights, which the seventh finds.
  const auto outcome = train(
      "--no-lr-check --checkpoint-every 1 --lr 0.01 --batch-size 4 "
      "--schedule 'multi_step 5 gamma 1e20'");
  EXPECT_EQ(outcome.status, 3) << outcome.err;
  EXPECT_THAT(checkpoints_of(out()), ElementsAre("checkpoint-0000000005.ckpt"));
  EXPECT_THAT(
      outcome.err,
      AllOf(
          HasSubstr("at update 7 "),
          HasSubstr("The last checkpoint before: "),
          HasSubstr("checkpoint-0000000005.ckpt")));
  EXPECT_THAT(outcome.err, Not(HasSubstr("frame #")));
}

}  // namespace
}  // namespace stepsize::trainer
