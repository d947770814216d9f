#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/option_schedule.h>
#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/optim/clipped_sgd.h>
#include <torch/torch.h>

#include <limits>
#include <memory>
#include <sstream>

#include "tests/support/leaf.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;

// A parameter, its optimizer and schedulers of rate and decay.
class SkippingRun {
 public:
  SkippingRun()
      : x_(leaf({1})),
        optimizer_({x_}, ClippedSGDOptions(1).weight_decay(0.5)),
        rate_(optimizer_, "linear 10"),
        decay_(optimizer_, "weight_decay", "linear 10") {
    rate_.follow_skipped_steps();
    decay_.follow_skipped_steps();
  }

  void update(bool is_finite) {
    x_.mutable_grad() = torch::full_like(
        x_, is_finite ? 0.1 : std::numeric_limits<double>::quiet_NaN());
    optimizer_.step();
    rate_.step();
    decay_.step();
  }

  double lr() const { return optimizer_.param_groups()[0].options().get_lr(); }
  double decay() const {
    return static_cast<const ClippedSGDOptions&>(
               optimizer_.param_groups()[0].options())
        .weight_decay();
  }
  ClippedSGD& optimizer() { return optimizer_; }
  ScheduleLR& rate() { return rate_; }

 private:
  torch::Tensor x_;
  ClippedSGD optimizer_;
  ScheduleLR rate_;
  OptionSchedule decay_;
};

TEST(SkippedSteps, HoldScheduleAndOption) {
  SkippingRun run;
  run.update(true);
  EXPECT_DOUBLE_EQ(run.lr(), 0.9);
  run.update(false);
  run.update(false);
  EXPECT_DOUBLE_EQ(run.lr(), 0.9);
  EXPECT_DOUBLE_EQ(run.decay(), 0.45);
  EXPECT_EQ(run.rate().last_epoch(), 1);
  run.update(true);
  EXPECT_DOUBLE_EQ(run.lr(), 0.8);
  EXPECT_DOUBLE_EQ(run.decay(), 0.4);
  run.rate().follow_skipped_steps(false);
  run.update(false);
  EXPECT_DOUBLE_EQ(run.lr(), 0.7);
}

TEST(SkippedSteps, AreKnownAfterALoadInAnyOrder) {
  for (const bool optimizer_first : {true, false}) {
    SkippingRun run;
    run.update(true);
    run.update(false);
    std::stringstream optimizer_file;
    std::stringstream rate_file;
    torch::save(run.optimizer(), optimizer_file);
    torch::save(run.rate(), rate_file);
    SkippingRun resumed;
    if (optimizer_first) torch::load(resumed.optimizer(), optimizer_file);
    torch::load(resumed.rate(), rate_file);
    if (!optimizer_first) torch::load(resumed.optimizer(), optimizer_file);
    EXPECT_EQ(resumed.optimizer().skipped_steps(), 1);
    resumed.update(true);
    EXPECT_DOUBLE_EQ(resumed.lr(), 0.8) << optimizer_first;
    resumed.update(false);
    EXPECT_DOUBLE_EQ(resumed.lr(), 0.8) << optimizer_first;
  }
}

TEST(SkippedSteps, AreAskedOfAnOptimizerThatTellsThem) {
  torch::optim::SGD sgd({leaf({1})}, torch::optim::SGDOptions(1));
  ScheduleLR rate(sgd, "linear 10");
  try {
    rate.follow_skipped_steps();
    ADD_FAILURE() << "nothing was thrown";
  } catch (const c10::Error& error) {
    EXPECT_THAT(
        error.what_without_backtrace(),
        HasSubstr("ScheduleLR: follow_skipped_steps: nothing tells"));
  }
  rate.follow_skipped_steps(false);
}

}  // namespace
}  // namespace stepsize::test
