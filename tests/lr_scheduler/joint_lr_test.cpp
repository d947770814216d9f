#include <stepsize/lr_scheduler/joint_lr.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/exponential_lr.h>
#include <stepsize/lr_scheduler/one_cycle_lr.h>
#include <stepsize/lr_scheduler/usage_check.h>
#include <stepsize/schedule/parse.h>
#include <torch/torch.h>

#include <functional>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/leaf.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;
using torch::optim::AdamW;
using torch::optim::AdamWOptions;
using torch::optim::SGD;
using torch::optim::SGDOptions;

// Two optimizers of rates 0.1 and 0.01.
struct TwoOptimizers {
  SGD sgd{{leaf({1})}, SGDOptions(0.1)};
  AdamW adamw{{leaf({1})}, AdamWOptions(0.01)};

  double first() const { return sgd.param_groups()[0].options().get_lr(); }
  double second() const { return adamw.param_groups()[0].options().get_lr(); }
};

std::string joint_error(const std::function<void()>& call) {
  try {
    call();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(JointLR, DrivesAllFromTheirOwnBaseRates) {
  TwoOptimizers pair;
  JointLR scheduler({&pair.sgd, &pair.adamw}, parse("linear 4"));
  torch::optim::LRScheduler& base = scheduler;
  for (int t = 0; t <= 6; ++t) {
    const double left = std::max(0.0, (4.0 - t) / 4);
    EXPECT_DOUBLE_EQ(pair.first(), 0.1 * left) << t;
    EXPECT_DOUBLE_EQ(pair.second(), 0.01 * left) << t;
    EXPECT_EQ(scheduler.last_epoch(), t);
    EXPECT_EQ(scheduler.part(1).last_epoch(), t);
    base.step();
  }
  scheduler.seek(1);
  EXPECT_DOUBLE_EQ(pair.second(), 0.0075);
  scheduler.extend(7);
  scheduler.step();
  EXPECT_DOUBLE_EQ(pair.first(), 0.1 * 0.75 * 5 / 6);
  EXPECT_DOUBLE_EQ(pair.second(), 0.01 * 0.75 * 5 / 6);
}

TEST(JointLR, GoesOnFromAnArchive) {
  TwoOptimizers whole;
  JointLR saved({&whole.sgd, &whole.adamw}, ExponentialLROptions(0.5));
  saved.step();
  saved.step();
  std::stringstream file;
  torch::save(saved, file);
  TwoOptimizers resumed;
  JointLR loaded({&resumed.sgd, &resumed.adamw}, ExponentialLROptions(0.5));
  torch::load(loaded, file);
  EXPECT_EQ(resumed.first(), whole.first());
  EXPECT_EQ(resumed.second(), whole.second());
  loaded.step();
  EXPECT_DOUBLE_EQ(resumed.first(), 0.0125);
  EXPECT_DOUBLE_EQ(resumed.second(), 0.00125);
  EXPECT_EQ(loaded.last_epoch(), 3);
}

TEST(JointLR, TakesOptionsOfEitherSide) {
  TwoOptimizers whole;
  JointLR saved({&whole.sgd, &whole.adamw}, ExponentialLROptions(0.5));
  saved.step();
  const auto archive_of = [&] {
    std::stringstream file;
    torch::save(saved, file);
    torch::serialize::InputArchive archive;
    archive.load_from(file);
    return archive;
  };
  TwoOptimizers other;
  JointLR mine({&other.sgd, &other.adamw}, ExponentialLROptions(0.1));
  auto archive = archive_of();
  EXPECT_THAT(
      joint_error([&] { mine.load(archive); }), HasSubstr("gamma is 0.5"));
  EXPECT_EQ(other.second(), 0.01);
  archive = archive_of();
  mine.load(archive, OptionsFrom::kProgram);
  EXPECT_DOUBLE_EQ(other.first(), 0.01);
  EXPECT_DOUBLE_EQ(other.second(), 0.001);
  archive = archive_of();
  mine.load(archive, OptionsFrom::kFile);
  mine.step();
  EXPECT_DOUBLE_EQ(other.first(), 0.025);
  EXPECT_DOUBLE_EQ(other.second(), 0.0025);
}

TEST(JointLR, AStepThatOneRefusesChangesNone) {
  TwoOptimizers pair;
  // The second rate overflows at t = 2; the first does not.
  pair.adamw.param_groups()[0].options().set_lr(1e308);
  JointLR scheduler({&pair.sgd, &pair.adamw}, parse("linear 9 from 1 to 10"));
  EXPECT_THAT(
      joint_error([&] { scheduler.step(); }),
      HasSubstr("must be finite and >= 0, got inf"));
  EXPECT_EQ(pair.first(), 0.1);
  EXPECT_EQ(pair.second(), 1e308);
  EXPECT_EQ(scheduler.last_epoch(), 0);
  EXPECT_EQ(scheduler.part(0).last_epoch(), 0);
}

// The second's rate was set by hand, which a look at the rates does not see.
TEST(JointLR, AStepThatAUsageCheckRefusesChangesNone) {
  TwoOptimizers pair;
  JointLR scheduler({&pair.sgd, &pair.adamw}, parse("linear 4"));
  scheduler.step();
  pair.adamw.param_groups()[0].options().set_lr(0.5);
  std::stringstream before;
  torch::save(scheduler, before);
  set_scheduler_usage_check(UsageCheck::kThrow);
  const std::string said = joint_error([&] { scheduler.step(); });
  set_scheduler_usage_check(UsageCheck::kWarn);
  EXPECT_THAT(said, HasSubstr("has been set to 0.5 since the last step"));
  EXPECT_DOUBLE_EQ(pair.first(), 0.075);
  EXPECT_EQ(pair.second(), 0.5);
  EXPECT_EQ(scheduler.last_epoch(), 1);
  EXPECT_EQ(scheduler.part(0).last_epoch(), 1);
  std::stringstream after;
  torch::save(scheduler, after);
  EXPECT_EQ(after.str(), before.str());
  scheduler.step();
  EXPECT_DOUBLE_EQ(pair.first(), 0.05);
  EXPECT_DOUBLE_EQ(pair.second(), 0.005);
}

// Rates that a setter of the user's refuses.
struct PickyOptions : torch::optim::OptimizerCloneableOptions<PickyOptions> {
  double lr = 0.1;
  double get_lr() const override { return lr; }
  void set_lr(const double value) override {
    if (value < 0.06) throw std::runtime_error("too low for me");
    lr = value;
  }
};
struct PickyOptimizer : torch::optim::Optimizer {
  explicit PickyOptimizer(std::vector<torch::Tensor> parameters)
      : Optimizer(
            {torch::optim::OptimizerParamGroup(
                std::move(parameters), std::make_unique<PickyOptions>())},
            std::make_unique<PickyOptions>()) {}
  torch::Tensor step(LossClosure) override { return {}; }
};

TEST(JointLR, AStepThatASetterRefusesChangesNone) {
  SGD sgd({leaf({1})}, SGDOptions(0.1).momentum(0.5));
  PickyOptimizer picky({leaf({1})});
  JointLR scheduler({&sgd, &picky}, parse("linear 4"));
  scheduler.step();
  for (const int64_t t : {2, 3}) {
    EXPECT_EQ(
        joint_error([&] { t == 2 ? scheduler.step() : scheduler.seek(t); }),
        "too low for me");
    EXPECT_DOUBLE_EQ(sgd.param_groups()[0].options().get_lr(), 0.075);
    EXPECT_EQ(scheduler.part(0).last_epoch(), 1);
    EXPECT_EQ(scheduler.last_epoch(), 1);
  }
}

// A rate that may only fall, so that nothing puts it back.
struct FallingOptions
    : torch::optim::OptimizerCloneableOptions<FallingOptions> {
  double lr = 0.1;
  double get_lr() const override { return lr; }
  void set_lr(const double value) override {
    if (value > lr) throw std::runtime_error("only down");
    lr = value;
  }
};
struct FallingOptimizer : torch::optim::Optimizer {
  explicit FallingOptimizer(std::vector<torch::Tensor> parameters)
      : Optimizer(
            {torch::optim::OptimizerParamGroup(
                std::move(parameters), std::make_unique<FallingOptions>())},
            std::make_unique<FallingOptions>()) {}
  torch::Tensor step(LossClosure) override { return {}; }
};

// The third is refused; the second cannot go back, and the first does.
TEST(JointLR, OneThatCannotBePutBackDoesNotKeepTheOthers) {
  TwoOptimizers pair;
  FallingOptimizer falling({leaf({1})});
  JointLR scheduler({&pair.sgd, &falling, &pair.adamw}, parse("linear 4"));
  scheduler.step();
  pair.adamw.param_groups()[0].options().set_lr(0.5);
  set_scheduler_usage_check(UsageCheck::kThrow);
  const std::string said = joint_error([&] { scheduler.step(); });
  set_scheduler_usage_check(UsageCheck::kWarn);
  EXPECT_THAT(said, HasSubstr("has been set to 0.5 since the last step"));
  EXPECT_DOUBLE_EQ(pair.first(), 0.075);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(scheduler.part(i).last_epoch(), 1) << i;
  }
  scheduler.step();
  EXPECT_DOUBLE_EQ(pair.first(), 0.05);
  EXPECT_DOUBLE_EQ(falling.param_groups()[0].options().get_lr(), 0.05);
  EXPECT_DOUBLE_EQ(pair.second(), 0.005);
}

TEST(JointLR, PutsMomentaBackOfAStepThatIsRefused) {
  SGD first({leaf({1})}, SGDOptions(0.1).momentum(0.5));
  SGD second({leaf({1})}, SGDOptions(0.2).momentum(0.5));
  JointLR scheduler({&first, &second}, OneCycleLROptions(0.1).total_steps(10));
  scheduler.step();
  const auto momentum = [&first] {
    return static_cast<SGDOptions&>(first.param_groups()[0].options())
        .momentum();
  };
  const double before = momentum();
  second.param_groups()[0].options().set_lr(0.5);
  set_scheduler_usage_check(UsageCheck::kThrow);
  const std::string said = joint_error([&] { scheduler.step(); });
  set_scheduler_usage_check(UsageCheck::kWarn);
  EXPECT_THAT(said, HasSubstr("has been set to 0.5 since the last step"));
  EXPECT_EQ(momentum(), before);
  scheduler.step();
  EXPECT_NE(momentum(), before);
}

TEST(JointLR, RefusesWhatItCannotDrive) {
  TwoOptimizers pair;
  EXPECT_THAT(
      joint_error([] { JointLR none({}, parse("linear 4")); }),
      HasSubstr("JointLR: there must be one optimizer at least"));
  EXPECT_THAT(
      joint_error([&] {
        JointLR null({&pair.sgd, nullptr}, parse("linear 4"));
      }),
      HasSubstr("optimizer 1 is null"));
  EXPECT_THAT(
      joint_error([&] {
        JointLR twice({&pair.sgd, &pair.sgd}, parse("linear 4"));
      }),
      HasSubstr("is there twice"));
  pair.adamw.param_groups()[0].options().set_lr(1e308);
  EXPECT_THAT(
      joint_error([&] {
        JointLR large({&pair.sgd, &pair.adamw}, parse("constant 10"));
      }),
      HasSubstr("must be finite"));
  EXPECT_EQ(pair.first(), 0.1);
}

// Adagrad has none to be cycled.
TEST(JointLR, PutsACycledMomentumBackWhereTheNextIsRefused) {
  SGD sgd({leaf({1})}, SGDOptions(0.1).momentum(0.5));
  torch::optim::Adagrad adagrad({leaf({1})});
  EXPECT_THAT(
      joint_error([&] {
        JointLR joint({&sgd, &adagrad}, OneCycleLROptions(0.1).total_steps(10));
      }),
      HasSubstr("cycle_momentum needs a momentum"));
  const auto& options =
      static_cast<const SGDOptions&>(sgd.param_groups()[0].options());
  EXPECT_EQ(options.momentum(), 0.5);
  EXPECT_EQ(options.lr(), 0.1);
}

}  // namespace
}  // namespace stepsize::test
