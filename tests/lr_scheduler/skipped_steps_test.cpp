#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/option_schedule.h>
#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/grad_scaler.h>
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

// One update of an optimizer by a scaler, and of its scheduler.
void scaled_update(
    GradScaler& scaler,
    torch::optim::Optimizer& optimizer,
    ScheduleLR& rate,
    bool is_finite) {
  auto& parameter = optimizer.param_groups()[0].params()[0];
  parameter.mutable_grad() = torch::full_like(
      parameter, is_finite ? 0.1 : std::numeric_limits<double>::quiet_NaN());
  scaler.step(optimizer);
  rate.step();
}

TEST(SkippedSteps, OfAScalerHoldTheScheduleOfAnyOptimizer) {
  torch::optim::SGD sgd({leaf({1})}, torch::optim::SGDOptions(1));
  ClippedSGD clipped({leaf({1})}, ClippedSGDOptions(1));
  torch::optim::Adam other({leaf({1})}, torch::optim::AdamOptions(1));
  ScheduleLR of_sgd(sgd, "linear 10");
  ScheduleLR of_clipped(clipped, "linear 10");
  ScheduleLR of_other(other, "linear 10");
  GradScaler scaler;
  for (ScheduleLR* rate : {&of_sgd, &of_clipped, &of_other}) {
    rate->follow_skipped_steps(scaler);
  }
  for (const bool is_finite : {true, false, true, false}) {
    scaled_update(scaler, sgd, of_sgd, is_finite);
    scaled_update(scaler, clipped, of_clipped, is_finite);
    // The overflow of another optimizer is none of its own.
    scaled_update(scaler, other, of_other, true);
    scaler.update();
  }
  EXPECT_EQ(of_sgd.last_epoch(), 2);
  EXPECT_EQ(of_clipped.last_epoch(), 2);
  EXPECT_EQ(of_other.last_epoch(), 4);
  EXPECT_DOUBLE_EQ(of_sgd.get_last_lr()[0], 0.8);
  EXPECT_EQ(scaler.skipped_steps(), 4);
  of_sgd.follow_skipped_steps(false);
  scaled_update(scaler, sgd, of_sgd, false);
  EXPECT_EQ(of_sgd.last_epoch(), 3);
}

TEST(SkippedSteps, OfAScalerAreKnownAfterALoadInAnyOrder) {
  for (const bool scaler_first : {true, false}) {
    torch::optim::SGD sgd({leaf({1})}, torch::optim::SGDOptions(1));
    ScheduleLR rate(sgd, "linear 10");
    GradScaler scaler;
    rate.follow_skipped_steps(scaler);
    for (const bool is_finite : {true, false}) {
      scaled_update(scaler, sgd, rate, is_finite);
      scaler.update();
    }
    std::stringstream scaler_file;
    std::stringstream rate_file;
    torch::save(scaler, scaler_file);
    torch::save(rate, rate_file);
    torch::optim::SGD resumed_sgd({leaf({1})}, torch::optim::SGDOptions(1));
    ScheduleLR resumed(resumed_sgd, "linear 10");
    GradScaler resumed_scaler;
    resumed.follow_skipped_steps(resumed_scaler);
    if (scaler_first) torch::load(resumed_scaler, scaler_file);
    torch::load(resumed, rate_file);
    if (!scaler_first) torch::load(resumed_scaler, scaler_file);
    EXPECT_EQ(resumed_scaler.skipped_steps(), 1);
    EXPECT_EQ(resumed_scaler.scale(), 32768);
    for (const bool is_finite : {true, false}) {
      scaled_update(resumed_scaler, resumed_sgd, resumed, is_finite);
      resumed_scaler.update();
      EXPECT_EQ(resumed.last_epoch(), 2) << scaler_first;
    }
  }
}

}  // namespace
}  // namespace stepsize::test
