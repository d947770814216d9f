#include "examples/trainer/run/resume.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/schedule/parse.h>
#include <torch/torch.h>

#include <cmath>
#include <memory>
#include <sstream>
#include <string>

#include "examples/trainer/cli/text.h"
#include "examples/trainer/run/run_folder.h"
#include "sample_files.h"

namespace stepsize::trainer {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

RunRequest request_after(std::int64_t done, std::int64_t epochs) {
  RunRequest request;
  request.options.out = "runs/a";
  request.options.epochs = epochs;
  request.earlier.emplace();
  request.earlier->planned_epochs = 4;
  request.earlier->epochs_done = done;
  request.earlier->data = "ten images";
  return request;
}

TEST(NothingLeft, KnowsARunThatHasEnded) {
  EXPECT_EQ(nothing_left({}), "");
  EXPECT_EQ(nothing_left(request_after(3, 4)), "");
  EXPECT_EQ(nothing_left(request_after(4, 5)), "");
  EXPECT_EQ(nothing_left(request_after(2, 3)), "");
  EXPECT_THAT(
      nothing_left(request_after(4, 4)), HasSubstr("runs/a has ended after 4"));
  auto stretched = request_after(4, 6);
  stretched.earlier->stretches = {{100, 6}};
  EXPECT_EQ(nothing_left(stretched), "");
  auto stopped = request_after(2, 9);
  stopped.earlier->stopped_early = true;
  EXPECT_THAT(nothing_left(stopped), HasSubstr("stopped early after 2 epochs"));
}

// A run of 4 epochs of 10 updates that is over.
std::string said_after_end(const std::string& schedule) {
  auto request = request_after(4, 4);
  request.options.schedule = schedule;
  request.options.batch_size = 2;
  request.earlier->data = "20 training and 10 test images";
  request.earlier->step = 40;
  return nothing_left(request);
}

TEST(NothingLeft, OffersOnlyWhatIsNotRefused) {
  for (const auto* at_zero :
       {"cosine", "warmup 10% > cosine 90%", "cosine 30", "linear to 0"}) {
    EXPECT_THAT(
        said_after_end(at_zero),
        AllOf(
            HasSubstr("after 4 epochs at a rate of 0, and more --epochs "),
            HasSubstr("begin a new run with more epochs")))
        << at_zero;
  }
  for (const auto* above : {"cosine to 0.1", "constant", "cosine 100"}) {
    EXPECT_THAT(
        said_after_end(above),
        AllOf(
            HasSubstr("; a larger --epochs makes it longer"),
            Not(HasSubstr("unless"))))
        << above;
  }
  // A run of the same length that it was given in two parts.
  auto request = request_after(6, 6);
  request.options.schedule = "cosine";
  request.options.batch_size = 2;
  request.earlier->data = "20 training and 10 test images";
  request.earlier->stretches = {{30, 6}};
  request.earlier->step = 60;
  EXPECT_THAT(nothing_left(request), HasSubstr("at a rate of 0"));
}

TEST(NothingLeft, RefusesALengthThatTheRunIsBeyond) {
  for (const std::int64_t epochs : {1, 2}) {
    EXPECT_THAT(
        message_of([&] { nothing_left(request_after(2, epochs)); }),
        HasSubstr(
            "--epochs " + std::to_string(epochs) +
            ": the run in runs/a has done 2 epochs already"));
  }
  EXPECT_THAT(
      message_of([] { nothing_left(request_after(4, 3)); }),
      HasSubstr("done 4 epochs already"));
}

TEST(CheckData, RefusesOtherImagesAndNamesBoth) {
  EXPECT_EQ(message_of([] { check_data({}, "any"); }), "");
  const auto request = request_after(1, 4);
  EXPECT_EQ(message_of([&] { check_data(request, "ten images"); }), "");
  const auto message = message_of([&] { check_data(request, "nine images"); });
  EXPECT_THAT(message, HasSubstr("nine images"));
  EXPECT_THAT(message, HasSubstr("ten images"));
}

// A run of 4 epochs of 10 updates at rate 1, in the midst of which the length
// may change.
class ScheduledRun {
 public:
  explicit ScheduledRun(const std::string& schedule)
      : optimizer_({torch::zeros({1}, torch::requires_grad())}, 1.0) {
    options_.schedule = schedule;
    options_.epochs = 4;
    options_.batch_size = 2;
    std::ostringstream err;
    run_schedule = plan_schedule(options_, kImages, err);
    scheduler = std::make_unique<ScheduleLR>(optimizer_, run_schedule.factor);
    record.planned_epochs = 4;
    record.lr = 1;
  }

  void go_to(std::int64_t step) {
    optimizer_.step();
    while (scheduler->last_epoch() < step) {
      scheduler->step();
    }
    state.step = step;
    state.images = 2 * step;
    state.epoch = step / 10 + 1;
    state.in_epoch = step % 10 != 0;
  }

  bool change_length(std::int64_t epochs) {
    options_.epochs = epochs;
    return set_length(
        record, run_schedule, *scheduler, state, options_, kImages, said);
  }

  double rate_at(std::int64_t step) const {
    return scheduler->lr_at(step).front();
  }

  RunSchedule run_schedule;
  std::unique_ptr<ScheduleLR> scheduler;
  RunRecord record;
  TrainingState state;
  std::ostringstream said;

 private:
  static constexpr std::int64_t kImages = 20;
  TrainOptions options_;
  torch::optim::SGD optimizer_;
};

TEST(SetLength, DrawsOutWhatIsLeftWithoutAJump) {
  ScheduledRun run("linear to 0.2");
  run.go_to(15);
  EXPECT_FALSE(run.change_length(4));
  const double before = run.scheduler->get_last_lr().front();
  EXPECT_TRUE(run.change_length(8));
  EXPECT_EQ(run.run_schedule.updates, 80);
  ASSERT_EQ(run.record.stretches.size(), 1U);
  EXPECT_EQ(run.record.stretches[0].images, 30);
  EXPECT_EQ(run.scheduler->get_last_lr().front(), before);
  // The 25 updates that were left are now 65.
  for (const std::int64_t step : {15, 16, 40, 79, 80}) {
    const double planned = 15 + static_cast<double>(step - 15) * 25 / 65;
    EXPECT_NEAR(run.rate_at(step), 1 - 0.8 * planned / 40, 1e-12) << step;
  }
  // A second change, to a shorter run.
  run.go_to(40);
  EXPECT_TRUE(run.change_length(5));
  EXPECT_NEAR(run.rate_at(50), 0.2, 1e-12);
  EXPECT_EQ(run.record.stretches.size(), 2U);
}

TEST(SetLength, LeavesAScheduleWithoutAnEndAlone) {
  ScheduledRun run("constant");
  run.go_to(40);
  EXPECT_TRUE(run.change_length(6));
  EXPECT_EQ(run.run_schedule.updates, 60);
  EXPECT_EQ(run.rate_at(59), 1);
}

TEST(SetLength, HoldsTheLastRateOfAScheduleThatHasEnded) {
  ScheduledRun run("linear to 0.2");
  run.go_to(40);
  EXPECT_TRUE(run.change_length(6));
  EXPECT_NEAR(run.rate_at(55), 0.2, 1e-12);
  EXPECT_THAT(run.said.str(), HasSubstr("its last factor, 0.2, stays"));
}

TEST(SetLength, RefusesToGoOnAtARateOfZero) {
  ScheduledRun run("cosine");
  run.go_to(40);
  EXPECT_THAT(
      message_of([&] { run.change_length(6); }),
      AllOf(
          HasSubstr(
              "--epochs 6: the schedule has come to its end at a rate of 0"),
          HasSubstr("There is no earlier checkpoint to go on from: begin")));
}

TEST(SetLength, RefusesToGoOnWhereTheScheduleEndedBeforeTheRun) {
  ScheduledRun run("cosine 20");
  run.go_to(25);
  EXPECT_THAT(
      message_of([&] { run.change_length(6); }),
      HasSubstr("the schedule has come to its end at a rate of 0"));
  ScheduledRun shorter("cosine 20");
  shorter.go_to(25);
  EXPECT_TRUE(shorter.change_length(3));
}

// Factors of "cosine 100" at its own time.
double cosine_100_at(double time) {
  return (1 + std::cos(M_PI * time / 100)) / 2;
}

TEST(SetLength, KeepsTheShareOfAScheduleLongerThanTheRun) {
  ScheduledRun run("cosine 100");
  run.go_to(15);
  EXPECT_TRUE(run.change_length(8));
  // The 40 updates of the schedule that the run was to see are now 80.
  for (const std::int64_t step : {15, 16, 41, 80}) {
    const double planned = 15 + static_cast<double>(step - 15) * 25 / 65;
    EXPECT_NEAR(run.rate_at(step), cosine_100_at(planned), 1e-12) << step;
  }
  EXPECT_THAT(run.run_schedule.text, HasSubstr("(stretched)"));
  run.go_to(40);
  const double before = run.scheduler->get_last_lr().front();
  EXPECT_TRUE(run.change_length(5));
  EXPECT_EQ(run.scheduler->get_last_lr().front(), before);
  EXPECT_NEAR(run.rate_at(50), cosine_100_at(40), 1e-12);
}

TEST(SetLength, DrawsOutAScheduleShorterThanTheRunAsMuchAsTheRun) {
  ScheduledRun run("warmup 20 linear from 0.5");
  run.go_to(10);
  EXPECT_TRUE(run.change_length(7));
  // 30 updates were left and 60 are.
  EXPECT_NEAR(run.rate_at(20), 0.875, 1e-12);
  EXPECT_NEAR(run.rate_at(30), 1, 1e-12);
  ScheduledRun late("warmup 20 linear from 0.5");
  late.go_to(30);
  EXPECT_TRUE(late.change_length(7));
  EXPECT_EQ(late.rate_at(69), 1);
  EXPECT_EQ(late.said.str(), "");
}

TEST(SetLength, GoesOnWithAScheduleLongerThanARunThatHasEnded) {
  ScheduledRun run("cosine 100");
  run.go_to(40);
  EXPECT_TRUE(run.change_length(8));
  EXPECT_NEAR(run.rate_at(60), cosine_100_at(60), 1e-12);
  EXPECT_EQ(run.said.str(), "");
  EXPECT_THAT(run.run_schedule.text, Not(HasSubstr("(stretched)")));
  // And from there the rest is drawn out.
  run.go_to(60);
  EXPECT_TRUE(run.change_length(10));
  EXPECT_NEAR(run.rate_at(100), cosine_100_at(80), 1e-12);
}

TEST(RunLock, LetsOneTakeAFolder) {
  const TemporaryFolder folder;
  const auto run = folder / "a/run";
  {
    const RunLock lock(run);
    EXPECT_THAT(
        message_of([&] { RunLock second(run); }),
        HasSubstr(run.string() + ": another process is training there"));
    EXPECT_EQ(message_of([&] { RunLock other(folder / "b"); }), "");
  }
  EXPECT_EQ(message_of([&] { RunLock later(run); }), "");
}

TEST(ShellWord, IsReadAsOneWord) {
  EXPECT_EQ(shell_word("runs/a-1_b.c"), "runs/a-1_b.c");
  EXPECT_EQ(shell_word("my runs/a"), "'my runs/a'");
  EXPECT_EQ(shell_word("it's"), "'it'\\''s'");
  EXPECT_EQ(shell_word("~/a"), "'~/a'");
  EXPECT_EQ(shell_word(""), "''");
}

}  // namespace
}  // namespace stepsize::trainer
