// torch::save and torch::load, over one row a class.

#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/reduce_lr_on_plateau.h>
#include <stepsize/lr_scheduler/rule_lr.h>
#include <stepsize/lr_scheduler/step_lr.h>
#include <stepsize/lr_scheduler/swa_lr.h>
#include <stepsize/lr_scheduler/warmup_stable_decay_lr.h>
#include <torch/torch.h>

#include <cmath>
#include <memory>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include "tests/lr_scheduler/support/classes.h"
#include "tests/lr_scheduler/support/spec.h"
#include "tests/support/archive_bytes.h"

namespace stepsize::test {
namespace {

/// The message of the error that loading gives; the scheduler must be as
/// before.
std::string refusal(
    StatefulLR& scheduler,
    torch::optim::Optimizer& optimizer,
    const std::string& bytes) {
  const std::string state = saved(scheduler);
  const std::vector<double> lrs = lrs_of(optimizer);
  std::string message;
  try {
    load(scheduler, bytes);
  } catch (const c10::Error& error) {
    message = error.what_without_backtrace();
  }
  EXPECT_EQ(saved(scheduler), state);
  EXPECT_EQ(lrs_of(optimizer), lrs);
  return message;
}

class State : public testing::TestWithParam<const char*> {};

TEST_P(State, GoesOnBitForBit) {
  const auto optimizer = make_optimizer("SGD", kLrs);
  const auto scheduler = recipe_of(GetParam()).make(*optimizer);
  for (int i = 0; i < 5; ++i) scheduler->step();
  add_group(*optimizer, "SGD", 0.01);
  for (int i = 0; i < 6; ++i) scheduler->step();
  auto& rule_lr = dynamic_cast<RuleLR&>(*scheduler);
  if (std::isfinite(rule_lr.rule().length())) rule_lr.extend(101);
  for (int i = 0; i < 2; ++i) scheduler->step();

  // Another run: three groups from the start, at rates that do not matter.
  const auto other = make_optimizer("SGD", {1.0, 1.0, 1.0});
  const auto resumed = [&]() -> std::unique_ptr<StatefulLR> {
    // Lists of two speak of the first two groups; the third is added later.
    const std::string text = GetParam();
    const bool has_list = text.find("=[0") != std::string::npos ||
                          text.find("=[decay") != std::string::npos;
    if (!has_list) return recipe_of(text).make(*other);
    other->param_groups().pop_back();
    auto made = recipe_of(text).make(*other);
    add_group(*other, "SGD", 1.0);
    return made;
  }();
  load(*resumed, saved(*scheduler));
  EXPECT_EQ(resumed->last_epoch(), 13);
  for (int i = 0; i < 120; ++i) {
    SCOPED_TRACE(i);
    ASSERT_EQ(lrs_of(*other), lrs_of(*optimizer));
    ASSERT_EQ(momenta_of(*other), momenta_of(*optimizer));
    ASSERT_EQ(resumed->get_last_lr(), scheduler->get_last_lr());
    resumed->step();
    scheduler->step();
  }
}

TEST_P(State, RefusesAnotherKindAndChangesNothing) {
  const auto optimizer = make_optimizer("SGD", kLrs);
  const auto scheduler = recipe_of(GetParam()).make(*optimizer);
  for (int i = 0; i < 3; ++i) scheduler->step();
  const auto other = make_optimizer("SGD", kLrs);
  const StepLR step_lr(*other, StepLROptions(30));
  const std::string message = refusal(*scheduler, *optimizer, saved(step_lr));
  const std::string expected =
      scheduler->kind() == "StepLR"
          ? "StepLR: step_size is 30 in the file, 7 here"
          : scheduler->kind() +
                ": the archive holds a StepLR(step_size=30, gamma=0.1)";
  EXPECT_EQ(message, expected);
}

INSTANTIATE_TEST_SUITE_P(
    All, State, testing::ValuesIn(kRuleClasses), class_name);

TEST(StatefulLR, RefusesOtherOptions) {
  const auto optimizer = make_optimizer("SGD", kLrs);
  StepLR scheduler(*optimizer, StepLROptions(7));
  const auto other = make_optimizer("SGD", kLrs);
  const StepLR step_lr(*other, StepLROptions(30));
  EXPECT_EQ(
      refusal(scheduler, *optimizer, saved(step_lr)),
      "StepLR: step_size is 30 in the file, 7 here");
}

TEST(StatefulLR, RefusesAnotherNumberOfGroups) {
  const auto optimizer = make_optimizer("SGD", kLrs);
  StepLR scheduler(*optimizer, StepLROptions(7));
  const auto other = make_optimizer("SGD", {0.1});
  const StepLR step_lr(*other, StepLROptions(7));
  EXPECT_EQ(
      refusal(scheduler, *optimizer, saved(step_lr)),
      "StepLR: the archive has 1 parameter groups, the optimizer 2");
}

TEST(StatefulLR, RefusesForeignAndCutArchives) {
  const auto optimizer = make_optimizer("SGD", kLrs);
  StepLR scheduler(*optimizer, StepLROptions(7));
  scheduler.step();
  std::ostringstream tensor;
  torch::save(torch::ones({3}), tensor);
  EXPECT_EQ(
      refusal(scheduler, *optimizer, tensor.str()),
      "StepLR: the archive holds no scheduler of stepsize");
  const std::string whole = saved(scheduler);
  EXPECT_NE(
      refusal(scheduler, *optimizer, whole.substr(0, whole.size() / 2)), "");
  EXPECT_NE(refusal(scheduler, *optimizer, "not an archive"), "");
}

TEST(StatefulLR, RefusesValuesThatNoSchedulerWrites) {
  const auto optimizer = make_optimizer("SGD", kLrs);
  StepLR scheduler(*optimizer, StepLROptions(7));
  const double nan = std::nan("");
  const auto forged = [&](const std::vector<double>& lrs, int64_t clock) {
    torch::serialize::OutputArchive archive;
    archive.write("stepsize_lr_format", c10::IValue(int64_t{1}));
    archive.write("kind", c10::IValue("StepLR"));
    archive.write("fingerprint", c10::IValue(scheduler.describe()));
    archive.write("state_class", c10::IValue("RuleLR"));
    archive.write("last_epoch", c10::IValue(clock));
    archive.write("lrs", c10::IValue(lrs));
    std::ostringstream stream;
    archive.save_to(stream);
    return stream.str();
  };
  EXPECT_EQ(
      refusal(scheduler, *optimizer, forged({0.1, nan}, 3)),
      "StepLR: 'lrs' of the archive must be finite, got nan");
  EXPECT_EQ(
      refusal(scheduler, *optimizer, forged({0.1, 0.1}, -3)),
      "StepLR: 'last_epoch' of the archive must be in [0, 9007199254740992], "
      "got -3");
  EXPECT_EQ(
      refusal(scheduler, *optimizer, forged({0.1, 0.1}, (1LL << 53) + 1)),
      "StepLR: 'last_epoch' of the archive must be in [0, 9007199254740992], "
      "got 9007199254740993");
  EXPECT_EQ(
      refusal(scheduler, *optimizer, forged({0.1, 0.1}, 3)),
      "StepLR: the archive has no 'started'");
}

TEST(StatefulLR, RefusesTheStateOfAClassThatKeepsMore) {
  const WarmupStableDecayLROptions wsd_options(0, 100, 10);
  const auto optimizer = make_optimizer("SGD", kLrs);
  WarmupStableDecayLR wsd(*optimizer, wsd_options);
  wsd.begin_cooldown(10);
  RuleLR rule_lr(*optimizer, wsd_options);
  EXPECT_EQ(
      refusal(rule_lr, *optimizer, saved(wsd)),
      "WarmupStableDecayLR: the archive was written by a WarmupStableDecayLR, "
      "this is a RuleLR");
  EXPECT_NE(refusal(wsd, *optimizer, saved(rule_lr)), "");

  SWALR swa_lr(*optimizer, SWALROptions(0.5));
  RuleLR swa_rule(*optimizer, SWALROptions(0.5));
  EXPECT_EQ(
      refusal(swa_rule, *optimizer, saved(swa_lr)),
      "SWALR: the archive was written by a SWALR, this is a RuleLR");
  EXPECT_NE(refusal(swa_lr, *optimizer, saved(swa_rule)), "");
}

// A copy of a part would lose the rest (a cooldown, a plateau's counters).
static_assert(!std::is_copy_constructible<RuleLR>::value, "sliced");
static_assert(!std::is_copy_assignable<RuleLR>::value, "sliced");
static_assert(!std::is_constructible<RuleLR, WarmupStableDecayLR>::value, "");

TEST(ReduceLROnPlateau, StateKeepsEveryCounter) {
  const auto options = ReduceLROnPlateauOptions()
                           .patience(2)
                           .cooldown(5)
                           .mode(MetricMode::kMax)
                           .factor(0.7);
  const auto optimizer = make_optimizer("SGD", kLrs);
  ReduceLROnPlateau scheduler(*optimizer, options);
  for (const double metric : {-3.0, -2.0, -2.5, -2.5, -2.5, -2.6}) {
    scheduler.step(metric);
  }
  // A write from outside is in force too: a plateau works on that.
  optimizer->param_groups()[1].options().set_lr(0.5);
  const auto other = make_optimizer("SGD", {1.0, 1.0});
  ReduceLROnPlateau resumed(*other, options);
  load(resumed, saved(scheduler));
  EXPECT_EQ(resumed.best(), -2.0);
  EXPECT_EQ(resumed.cooldown_counter(), 4);
  for (int i = 0; i < 40; ++i) {
    ASSERT_EQ(lrs_of(*other), lrs_of(*optimizer));
    ASSERT_EQ(resumed.num_bad_epochs(), scheduler.num_bad_epochs());
    ASSERT_EQ(resumed.cooldown_counter(), scheduler.cooldown_counter());
    const double metric = -2.0 - 0.01 * (i % 5);
    resumed.step(metric);
    scheduler.step(metric);
  }
  EXPECT_LT(lrs_of(*optimizer)[1], 0.5);
}

// What 0.1 has saved as "rel" was Python's, and reads as kRel does today.
TEST(ReduceLROnPlateau, AStateOfRelLoadsIntoPythonRelAndNotBack) {
  const auto rel = ReduceLROnPlateauOptions().patience(2);
  const auto python =
      ReduceLROnPlateauOptions(rel).threshold_mode(ThresholdMode::kPythonRel);
  const auto optimizer = make_optimizer("SGD", kLrs);
  ReduceLROnPlateau earlier(*optimizer, rel);
  earlier.step(-3.0);
  EXPECT_EQ(
      earlier.describe(),
      "ReduceLROnPlateau(mode=min, factor=0.1, patience=2, threshold=1e-04, "
      "threshold_mode=rel, cooldown=0, min_lr=0, eps=1e-08)");
  const auto other = make_optimizer("SGD", kLrs);
  ReduceLROnPlateau resumed(*other, python);
  load(resumed, saved(earlier));
  EXPECT_EQ(resumed.best(), -3.0);
  resumed.step(-2.9999);  // below -3 (1 - 1e-4) = -2.9997
  EXPECT_EQ(resumed.best(), -2.9999);
  EXPECT_THROW(load(earlier, saved(resumed)), c10::Error);
  ReduceLROnPlateau patient(
      *other, ReduceLROnPlateauOptions(python).patience(3));
  EXPECT_THROW(load(patient, saved(earlier)), c10::Error);
}

TEST(WarmupStableDecayLR, StateKeepsTheCooldown) {
  const WarmupStableDecayLROptions options(5, 1000, 100);
  const auto optimizer = make_optimizer("SGD", kLrs);
  WarmupStableDecayLR scheduler(*optimizer, options);
  for (int i = 0; i < 20; ++i) scheduler.step();
  scheduler.begin_cooldown(10);
  for (int i = 0; i < 4; ++i) scheduler.step();
  const auto other = make_optimizer("SGD", {1.0, 1.0});
  WarmupStableDecayLR resumed(*other, options);
  load(resumed, saved(scheduler));
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(lrs_of(*other), lrs_of(*optimizer));
    resumed.step();
    scheduler.step();
  }
  EXPECT_EQ(lrs_of(*other), std::vector<double>({0.0, 0.0}));
}

}  // namespace
}  // namespace stepsize::test
