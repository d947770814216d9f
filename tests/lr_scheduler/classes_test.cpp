// What every class must do, over one row a class.

#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/rule_lr.h>

#include <cmath>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "tests/lr_scheduler/support/classes.h"
#include "tests/lr_scheduler/support/spec.h"

namespace stepsize::test {
namespace {

class RuleClass : public testing::TestWithParam<const char*> {
 protected:
  std::unique_ptr<torch::optim::Optimizer> optimizer_ =
      make_optimizer("SGD", kLrs);

  std::unique_ptr<RuleLR> make(torch::optim::Optimizer& optimizer) {
    std::unique_ptr<StatefulLR> made = recipe_of(GetParam()).make(optimizer);
    return std::unique_ptr<RuleLR>(dynamic_cast<RuleLR*>(made.release()));
  }
};

TEST_P(RuleClass, StepsThroughABasePointer) {
  const auto scheduler = make(*optimizer_);
  torch::optim::LRScheduler& base = *scheduler;
  for (int64_t t = 0; t < 60; ++t) {
    EXPECT_EQ(scheduler->last_epoch(), t);
    EXPECT_EQ(scheduler->get_last_lr(), lrs_of(*optimizer_));
    base.step();
  }
}

TEST_P(RuleClass, SeekIsStepping) {
  const auto stepped = make(*optimizer_);
  const auto other = make_optimizer("SGD", kLrs);
  const auto sought = make(*other);
  for (int i = 0; i < 50; ++i) stepped->step();
  // Forth, too far, and back.
  for (const int64_t t : {20, 90, 50}) sought->seek(t);
  EXPECT_EQ(lrs_of(*other), lrs_of(*optimizer_));
  EXPECT_EQ(momenta_of(*other), momenta_of(*optimizer_));
  EXPECT_EQ(sought->last_epoch(), 50);
  stepped->step();
  sought->step();
  EXPECT_EQ(lrs_of(*other), lrs_of(*optimizer_));
}

TEST_P(RuleClass, PeekIsWhatStepsSetAndTouchesNothing) {
  const auto scheduler = make(*optimizer_);
  const std::vector<double> before = lrs_of(*optimizer_);
  std::vector<std::vector<double>> peeked;
  for (int64_t t = 0; t < 60; ++t) peeked.push_back(scheduler->lr_at(t));
  EXPECT_EQ(lrs_of(*optimizer_), before);
  EXPECT_EQ(scheduler->last_epoch(), 0);
  for (int64_t t = 0; t < 60; ++t) {
    EXPECT_EQ(lrs_of(*optimizer_), peeked[static_cast<std::size_t>(t)]);
    scheduler->step();
  }
}

TEST_P(RuleClass, AnOutsideWriteHasGoneAtTheNextStep) {
  const auto scheduler = make(*optimizer_);
  for (int i = 0; i < 10; ++i) scheduler->step();
  const std::vector<double> next = scheduler->lr_at(11);
  for (auto& group : optimizer_->param_groups()) group.options().set_lr(77.0);
  scheduler->step();
  EXPECT_EQ(lrs_of(*optimizer_), next);
}

TEST_P(RuleClass, ClockGoesPast32Bits) {
  if (std::string(GetParam()).find("Multiplicative") != std::string::npos) {
    GTEST_SKIP() << "a seek costs MultiplicativeLR a call for every step";
  }
  const auto scheduler = make(*optimizer_);
  const int64_t far = (int64_t{1} << 32) + 5;
  scheduler->seek(far);
  scheduler->step();
  EXPECT_EQ(scheduler->last_epoch(), far + 1);
  EXPECT_EQ(lrs_of(*optimizer_), scheduler->lr_at(far + 1));
  for (const double lr : lrs_of(*optimizer_)) EXPECT_TRUE(std::isfinite(lr));
}

TEST_P(RuleClass, RefusesATimeBeforeTheStart) {
  const auto scheduler = make(*optimizer_);
  scheduler->step();
  const std::vector<double> before = lrs_of(*optimizer_);
  EXPECT_THROW(scheduler->seek(-1), c10::Error);
  EXPECT_THROW((void)scheduler->lr_at(-1), c10::Error);
  EXPECT_THROW(scheduler->extend(1), c10::Error);
  EXPECT_EQ(lrs_of(*optimizer_), before);
  EXPECT_EQ(scheduler->last_epoch(), 1);
}

TEST_P(RuleClass, AGroupAddedLaterJoinsWithItsOwnBase) {
  const auto scheduler = make(*optimizer_);
  for (int i = 0; i < 5; ++i) scheduler->step();
  add_group(*optimizer_, "SGD", 0.01);
  scheduler->step();
  EXPECT_EQ(scheduler->get_last_lr().size(), 3u);
  ASSERT_EQ(scheduler->base_lrs().size(), 3u);
  EXPECT_EQ(scheduler->base_lrs()[2], 0.01);
  EXPECT_EQ(lrs_of(*optimizer_), scheduler->get_last_lr());
}

TEST_P(RuleClass, ExtendGoesOnSmoothlyToTheNewEnd) {
  const auto scheduler = make(*optimizer_);
  for (int i = 0; i < 6; ++i) scheduler->step();
  const std::vector<double> here = scheduler->lr_at(6);
  if (!std::isfinite(scheduler->rule().length())) {
    EXPECT_THROW(scheduler->extend(500), c10::Error);
    EXPECT_EQ(
        scheduler->lr_at(7), make(*make_optimizer("SGD", kLrs))->lr_at(7));
    return;
  }
  const auto end = static_cast<int64_t>(scheduler->rule().length());
  ASSERT_GT(end, 6);
  const std::vector<double> next = scheduler->lr_at(7);
  const std::vector<double> last = scheduler->lr_at(end);
  const bool is_one_cycle = scheduler->kind() == "OneCycleLR";
  const int64_t new_end = 6 + 3 * (end - 6);
  for (const int64_t via : {end + 40, new_end}) {
    scheduler->extend(is_one_cycle ? via + 1 : via);
  }
  EXPECT_EQ(scheduler->lr_at(6), here);
  // Three times as slow: the old next rate comes at 6 + 3.
  EXPECT_EQ(scheduler->lr_at(9), next);
  EXPECT_EQ(scheduler->lr_at(new_end), last);
  EXPECT_EQ(scheduler->lr_at(new_end + 1000), last);
  EXPECT_EQ(scheduler->lr_at(3), make(*make_optimizer("SGD", kLrs))->lr_at(3));
}

INSTANTIATE_TEST_SUITE_P(
    All, RuleClass, testing::ValuesIn(kRuleClasses), class_name);

}  // namespace
}  // namespace stepsize::test
