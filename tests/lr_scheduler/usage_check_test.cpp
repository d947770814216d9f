// What is noticed in how schedulers are used, and what is not.

#include <c10/util/Exception.h>
#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/chained_scheduler.h>
#include <stepsize/lr_scheduler/cosine_annealing_lr.h>
#include <stepsize/lr_scheduler/exponential_lr.h>
#include <stepsize/lr_scheduler/linear_warmup_lr.h>
#include <stepsize/lr_scheduler/reduce_lr_on_plateau.h>
#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/lr_scheduler/sequential_lr.h>
#include <stepsize/lr_scheduler/step_lr.h>
#include <stepsize/lr_scheduler/swa_lr.h>
#include <stepsize/lr_scheduler/usage_check.h>
#include <stepsize/optim/clipped_adamw.h>
#include <torch/torch.h>

#include <functional>
#include <limits>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/archive_bytes.h"

namespace stepsize::test {
namespace {

// What TORCH_WARN says from here on, one by one.
class Warnings {
 public:
  Warnings() { testing::internal::CaptureStderr(); }
  Warnings(const Warnings&) = delete;
  Warnings& operator=(const Warnings&) = delete;
  ~Warnings() { testing::internal::GetCapturedStderr(); }

  std::vector<std::string> take() {
    std::istringstream text(testing::internal::GetCapturedStderr());
    testing::internal::CaptureStderr();
    std::vector<std::string> said;
    for (std::string line; std::getline(text, line);) {
      // glog announces itself before the first one.
      const bool is_said =
          !line.empty() && line.rfind("WARNING: Logging", 0) != 0;
      if (is_said) said.push_back(line);
    }
    return said;
  }
};

class UsageCheckTest : public testing::Test {
 protected:
  UsageCheckTest() { set_scheduler_order_check(true); }
  ~UsageCheckTest() override {
    set_scheduler_usage_check(UsageCheck::kWarn);
    set_scheduler_order_check(false);
  }

  // A warning that holds all of these words, and no other.
  void expect_one(const std::vector<std::string>& words) {
    const std::vector<std::string> said = warnings_.take();
    ASSERT_EQ(said.size(), 1U) << testing::PrintToString(said);
    for (const std::string& word : words) {
      EXPECT_NE(said[0].find(word), std::string::npos)
          << "'" << word << "' is not in: " << said[0];
    }
  }
  void expect_none() {
    const std::vector<std::string> said = warnings_.take();
    EXPECT_TRUE(said.empty()) << testing::PrintToString(said);
  }

  void backward() {
    optimizer_.zero_grad();
    (parameter_ * parameter_).sum().backward();
  }
  void update() {
    backward();
    optimizer_.step();
  }

  torch::Tensor parameter_ = torch::ones({2}, torch::requires_grad());
  torch::optim::SGD optimizer_{
      std::vector<torch::Tensor>{parameter_}, torch::optim::SGDOptions(0.1)};
  Warnings warnings_;
};

TEST_F(UsageCheckTest, NoticesABaseRateThatAnotherHasLowered) {
  LinearWarmupLR warmup(optimizer_, 10);
  CosineAnnealingLR cosine(optimizer_, CosineAnnealingLROptions(90));
  expect_one(
      {"CosineAnnealingLR: takes the rate in force of parameter group 0, "
       "0.00909",
       "LinearWarmupLR",
       "of 0.1",
       "SequentialLR",
       "set_scheduler_usage_check"});
  // It is a warning: the second has gone to work.
  EXPECT_NEAR(cosine.base_lrs()[0], 0.1 / 11, 1e-15);
}

TEST_F(UsageCheckTest, ThrowsBeforeAnythingHasChanged) {
  set_scheduler_usage_check(UsageCheck::kThrow);
  LinearWarmupLR warmup(optimizer_, 10);
  warmup.step();
  const double rate = optimizer_.param_groups()[0].options().get_lr();
  EXPECT_THROW(ExponentialLR(optimizer_, 0.5), c10::Error);
  EXPECT_EQ(optimizer_.param_groups()[0].options().get_lr(), rate);
  // The one that was refused is not in use.
  optimizer_.param_groups()[0].options().set_lr(0.1);
  StepLR step(optimizer_, StepLROptions(100));
  expect_none();
}

TEST_F(UsageCheckTest, KnowsWhatIsOff) {
  set_scheduler_usage_check(UsageCheck::kOff);
  LinearWarmupLR warmup(optimizer_, 10);
  ExponentialLR other(optimizer_, 0.5);
  for (int i = 0; i < 9; ++i) {
    warmup.step();
    other.step();
    warmup.step();
    update();
  }
  expect_none();
}

TEST_F(UsageCheckTest, PassesCompositions) {
  SequentialLR sequence(
      optimizer_,
      SequentialLROptions(
          {LinearWarmupLROptions(3), CosineAnnealingLROptions(7)}, {3}));
  for (int i = 0; i < 12; ++i) {
    update();
    sequence.step();
  }
  optimizer_.param_groups()[0].options().set_lr(0.1);
  ChainedScheduler chain(
      optimizer_,
      ChainedSchedulerOptions({LinearWarmupLROptions(3), StepLROptions(2)}));
  for (int i = 0; i < 12; ++i) {
    update();
    chain.step();
  }
  expect_none();
}

TEST_F(UsageCheckTest, PassesOneAfterTheOther) {
  { LinearWarmupLR gone(optimizer_, 10); }
  auto scheduler = std::make_unique<StepLR>(optimizer_, StepLROptions(1));
  for (int i = 0; i < 3; ++i) {
    update();
    scheduler->step();
  }
  // A restart while the old one is still there, at a rate of one's own.
  optimizer_.param_groups()[0].options().set_lr(0.1);
  scheduler = std::make_unique<StepLR>(optimizer_, StepLROptions(1));
  // One that joins at its first step.
  SWALR swa(optimizer_, SWALROptions(0.01));
  for (int i = 0; i < 3; ++i) {
    update();
    scheduler->step();
  }
  for (int i = 0; i < 9; ++i) {
    update();
    swa.step();
  }
  expect_none();
}

TEST_F(UsageCheckTest, PassesAWarmupBesideAPlateauAndWhatHasEnded) {
  LinearWarmupLR warmup(optimizer_, 2);
  ReduceLROnPlateau plateau(optimizer_, ReduceLROnPlateauOptions().patience(0));
  for (int i = 0; i < 4; ++i) {
    update();
    warmup.step();
    plateau.step(1.0);
  }
  // The warm-up has ended, and sets nothing any more.
  ExponentialLR decay(optimizer_, 0.5);
  for (int i = 0; i < 9; ++i) {
    update();
    warmup.step();
    decay.step();
  }
  expect_none();
}

TEST_F(UsageCheckTest, PassesOneWhoseLastStepIsDone) {
  ScheduleLR first(optimizer_, "cosine 4 to 0.1");
  for (int i = 0; i < 4; ++i) {
    update();
    first.step();
  }
  const ExponentialLR second(optimizer_, 0.5);
  expect_none();
}

TEST_F(UsageCheckTest, PassesTwoInLongPhases) {
  StepLR stairs(optimizer_, StepLROptions(1000));
  StepLR others(optimizer_, StepLROptions(2000));
  for (int phase = 0; phase < 8; ++phase) {
    for (int i = 0; i < 10; ++i) {
      update();
      phase % 2 == 0 ? stairs.step() : others.step();
    }
  }
  expect_none();
}

TEST_F(UsageCheckTest, NoticesTwoThatOverwriteEachOther) {
  StepLR stairs(optimizer_, StepLROptions(100));
  ExponentialLR decay(optimizer_, 0.5);
  for (int i = 0; i < 9; ++i) {
    update();
    stairs.step();
    decay.step();
  }
  const std::vector<std::string> said = warnings_.take();
  ASSERT_EQ(said.size(), 2U);  // one from each
  EXPECT_NE(
      said[0].find("StepLR: ExponentialLR steps the same"), std::string::npos)
      << said[0];
}

TEST_F(UsageCheckTest, PassesAWayFromOneToAnotherAndBack) {
  StepLR stairs(optimizer_, StepLROptions(100));
  ExponentialLR decay(optimizer_, 0.5);
  for (torch::optim::LRScheduler* scheduler :
       std::vector<torch::optim::LRScheduler*>{&stairs, &decay, &stairs}) {
    for (int i = 0; i < 4; ++i) {
      update();
      scheduler->step();
    }
  }
  expect_none();
}

TEST_F(UsageCheckTest, NoticesAStepBeforeTheFirstUpdate) {
  ExponentialLR scheduler(optimizer_, 0.5);
  for (int i = 0; i < 9; ++i) {
    scheduler.step();
    update();
  }
  expect_one({"ExponentialLR: the first step() came before", "seek(1)"});
}

TEST_F(UsageCheckTest, NoticesAStepBetweenBackwardAndTheUpdate) {
  ExponentialLR scheduler(optimizer_, 0.5);
  for (int i = 0; i < 9; ++i) {
    backward();
    scheduler.step();
    optimizer_.step();
  }
  expect_one({"the first step() came before the first optimizer.step()"});
}

TEST_F(UsageCheckTest, NoticesTwoStepsAnUpdate) {
  ExponentialLR scheduler(optimizer_, 0.5);
  for (int i = 0; i < 9; ++i) {
    update();
    scheduler.step();
    scheduler.step();
  }
  expect_one({"ExponentialLR: step() is called more often than optimizer"});
}

TEST_F(UsageCheckTest, NoticesAStepEveryMicroBatch) {
  ExponentialLR scheduler(optimizer_, 0.9);
  for (int i = 0; i < 16; ++i) {
    backward();
    if (i % 4 == 3) optimizer_.step();
    scheduler.step();
  }
  expect_one({"more often than optimizer.step()"});
}

TEST_F(UsageCheckTest, NoticesTheOrderWithEveryOptimizer) {
  const std::vector<torch::Tensor> parameters{parameter_};
  const std::vector<std::function<std::unique_ptr<torch::optim::Optimizer>()>>
      makers{
          [&] {
            return std::make_unique<torch::optim::SGD>(
                parameters, torch::optim::SGDOptions(0.1).momentum(0.9));
          },
          [&] { return std::make_unique<torch::optim::Adam>(parameters); },
          [&] { return std::make_unique<torch::optim::AdamW>(parameters); },
          [&] { return std::make_unique<torch::optim::RMSprop>(parameters); },
          [&] { return std::make_unique<torch::optim::Adagrad>(parameters); },
          [&] { return std::make_unique<ClippedAdamW>(parameters); }};
  for (const auto& make : makers) {
    for (const bool right : {true, false}) {
      const auto optimizer = make();
      ScheduleLR scheduler(*optimizer, "warmup 5 > linear 20");
      for (int i = 0; i < 9; ++i) {
        if (!right) scheduler.step();
        optimizer->zero_grad();
        (parameter_ * parameter_).sum().backward();
        optimizer->step();
        if (right) scheduler.step();
      }
      EXPECT_EQ(warnings_.take().size(), right ? 0U : 1U);
    }
  }
}

TEST_F(UsageCheckTest, PassesSoundOrders) {
  // Once an update, once an epoch, and a plot that makes no update.
  ExponentialLR every(optimizer_, 0.9);
  for (int i = 0; i < 40; ++i) {
    update();
    every.step();
  }
  optimizer_.param_groups()[0].options().set_lr(0.1);
  ExponentialLR epochs(optimizer_, 0.9);
  for (int i = 0; i < 40; ++i) {
    update();
    if (i % 5 == 4) epochs.step();
  }
  optimizer_.param_groups()[0].options().set_lr(0.1);
  ExponentialLR plot(optimizer_, 0.9);
  for (int i = 0; i < 40; ++i) plot.step();
  expect_none();
}

TEST_F(UsageCheckTest, PassesJumpsBeforeTheFirstUpdate) {
  ExponentialLR replayed(optimizer_, 0.9);
  for (int i = 0; i < 7; ++i) replayed.step();  // up to where a run was
  update();
  replayed.step();
  optimizer_.param_groups()[0].options().set_lr(0.1);
  ExponentialLR sought(optimizer_, 0.9);
  sought.seek(1);
  update();
  sought.step();
  const std::string state = saved(sought);
  optimizer_.param_groups()[0].options().set_lr(0.1);
  ExponentialLR resumed(optimizer_, 0.9);
  load(resumed, state);
  resumed.step();
  update();
  resumed.step();
  expect_none();
}

TEST_F(UsageCheckTest, PassesUpdatesThatDoNotShow) {
  // At a rate of 0, and then with a gradient of 0.
  ScheduleLR scheduler(optimizer_, "warmup 5 from 0 > linear 20");
  for (int i = 0; i < 12; ++i) {
    backward();
    if (i % 2 == 0) parameter_.mutable_grad().zero_();
    optimizer_.step();
    scheduler.step();
  }
  expect_none();
}

TEST_F(UsageCheckTest, PassesAnUpdateThatWasSkipped) {
  ExponentialLR scheduler(optimizer_, 0.9);
  for (int i = 0; i < 20; ++i) {
    backward();
    if (i % 2 == 0) {
      // What a scaler or a clipping optimizer refuses.
      parameter_.mutable_grad().fill_(std::numeric_limits<float>::infinity());
    } else {
      optimizer_.step();
    }
    scheduler.step();
  }
  expect_none();
}

// A rate set by hand, by a range test's apply() or by a load of the optimizer
// alone lasts until the next step.
TEST_F(UsageCheckTest, ARateThatTheNextStepUndoesIsToldOfOnce) {
  set_scheduler_order_check(false);
  ScheduleLR scheduler(optimizer_, "constant 0.5 for 10 > linear 20");
  scheduler.step();
  expect_none();
  for (int i = 0; i < 3; ++i) {
    optimizer_.param_groups()[0].options().set_lr(0.25);
    scheduler.step();
  }
  expect_one({"ScheduleLR", "has been set to 0.25", "set_base_lrs()"});
}

TEST_F(UsageCheckTest, ARateThatARuleLeavesAloneIsFree) {
  set_scheduler_order_check(false);
  LinearWarmupLR warmup(optimizer_, 2);
  ReduceLROnPlateau plateau(optimizer_, ReduceLROnPlateauOptions().patience(0));
  for (int i = 0; i < 6; ++i) {
    warmup.step();
    plateau.step(1);  // cuts within the warm-up and after it
  }
  optimizer_.param_groups()[0].options().set_lr(0.25);
  warmup.step();
  expect_none();
}

TEST(ScheduleLRText, IsTheScheduleThatItSays) {
  const auto parameter = torch::ones({2}, torch::requires_grad());
  torch::optim::SGD optimizer({parameter}, torch::optim::SGDOptions(0.1));
  {
    const ScheduleLR scheduler(optimizer, "warmup 500 > cosine 9500");
    EXPECT_EQ(scheduler.schedule(), parse("warmup 500 > cosine 9500"));
    EXPECT_DOUBLE_EQ(scheduler.lr_at(500)[0], 0.1);
  }
  optimizer.param_groups()[0].options().set_lr(0.1);
  ParseContext context;
  context.run_length = 1000;
  const std::string text = "warmup 5% > cosine to 10%";
  const ScheduleLR scheduler(optimizer, text, context);
  EXPECT_EQ(scheduler.schedule(), parse("warmup 50 > cosine 950 to 0.1"));
}

TEST(ScheduleLRText, LeavesTheOptimizerAloneWhereItIsNone) {
  const auto parameter = torch::ones({2}, torch::requires_grad());
  torch::optim::SGD optimizer({parameter}, torch::optim::SGDOptions(0.1));
  try {
    ScheduleLR scheduler(optimizer, "warmup 5% > cosine");
    FAIL();
  } catch (const ParseError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("ParseContext"), std::string::npos) << message;
    EXPECT_NE(message.find("run_length"), std::string::npos) << message;
  }
  EXPECT_EQ(optimizer.param_groups()[0].options().get_lr(), 0.1);
}

}  // namespace
}  // namespace stepsize::test
