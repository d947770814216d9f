// What may be moved, what may not, and what may outlive what.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/adaptive/sam.h>
#include <stepsize/lr_scheduler/curvature_lr.h>
#include <stepsize/lr_scheduler/one_cycle_lr.h>
#include <stepsize/lr_scheduler/phased_lr.h>
#include <stepsize/lr_scheduler/reduce_lr_on_plateau.h>
#include <stepsize/lr_scheduler/step_lr.h>
#include <stepsize/optim/autocast.h>
#include <stepsize/optim/grad_scaler.h>
#include <stepsize/optim/gradient_norm_rollback.h>

#include <memory>
#include <type_traits>
#include <utility>

#include "tests/support/archive_bytes.h"
#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/own_optimizers.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;

// By assignment too where LibTorch's own class can, as from 2.14 on.
template <typename T>
constexpr bool kMoves =
    std::is_move_constructible_v<T> && !std::is_copy_constructible_v<T> &&
    !std::is_copy_assignable_v<T> &&
    std::is_move_assignable_v<T> ==
        std::is_move_assignable_v<torch::optim::Optimizer>;

template <typename T>
constexpr bool kStaysPut =
    !std::is_move_constructible_v<T> && !std::is_copy_constructible_v<T> &&
    !std::is_move_assignable_v<T> && !std::is_copy_assignable_v<T>;

// These, or others, hold references to them.
static_assert(kStaysPut<RollbackSGD>);
static_assert(kStaysPut<GradientNormRollback>);
static_assert(kStaysPut<SAM>);
static_assert(kStaysPut<GradScaler>);
static_assert(kStaysPut<Autocast>);
static_assert(kStaysPut<StepLR>);
static_assert(kStaysPut<OneCycleLR>);
static_assert(kStaysPut<PhasedLR>);
static_assert(kStaysPut<ReduceLROnPlateau>);
static_assert(kStaysPut<CurvatureLR>);

template <typename Optimizer>
void step(Optimizer& optimizer, const torch::Tensor& w) {
  optimizer.step([&] {
    w.mutable_grad() = torch::Tensor();
    const torch::Tensor loss = (w * w * w * w).sum();
    if (!find_traits(optimizer)->wants_graph()) loss.backward();
    return loss;
  });
}

template <typename Own>
void expect_goes_on_after_a_move(const Own& own) {
  using Optimizer = typename Own::Optimizer;
  const auto& options = own.options;
  const torch::Tensor unmoved_w = own.fitted(leaf({1, -2, 0.5}));
  const torch::Tensor moved_w = own.fitted(leaf({1, -2, 0.5}));
  Optimizer unmoved({unmoved_w}, options);
  auto before =
      std::make_unique<Optimizer>(std::vector<torch::Tensor>{moved_w}, options);
  for (int i = 0; i < 7; ++i) {
    step(unmoved, unmoved_w);
    step(*before, moved_w);
  }
  Optimizer after(std::move(*before));
  before.reset();
  for (int i = 0; i < 7; ++i) {
    step(unmoved, unmoved_w);
    step(after, moved_w);
  }
  if constexpr (std::is_move_assignable_v<Optimizer>) {
    const torch::Tensor other_w = own.fitted(leaf({9}));
    Optimizer another({other_w}, options);
    step(another, other_w);
    another = std::move(after);
    for (int i = 0; i < 7; ++i) {
      step(unmoved, unmoved_w);
      step(another, moved_w);
    }
    EXPECT_EQ(saved(another), saved(unmoved));
    after = std::move(another);
  }
  EXPECT_TRUE(torch::equal(unmoved_w, moved_w));
  EXPECT_EQ(saved(after), saved(unmoved));
  EXPECT_EQ(after.kind(), unmoved.kind());
}

TEST(MovedOptimizer, GoesOnBitForBit) {
  for_each_own_optimizer([](const auto& own) {
    using Own = std::decay_t<decltype(own)>;
    using Optimizer = typename Own::Optimizer;
    SCOPED_TRACE(own.name);
    if constexpr (!kStaysPut<Optimizer>) {
      static_assert(kMoves<Optimizer>);
      expect_goes_on_after_a_move(own);
    }
  });
}

TEST(MovedOptimizer, LeavesOneBehindThatRefusesToStep) {
  const torch::Tensor w = leaf({1});
  ClippedSGD before({w}, ClippedSGDOptions(0.01));
  const ClippedSGD after(std::move(before));
  // What is left is alive, and has nothing to step.
  EXPECT_THAT(
      message_of([&] { before.step(); }),  // NOLINT: that is the question
      HasSubstr("no parameter group"));
}

TEST(MovedOptimizer, IsLostToItsScheduler) {
  ClippedSGD before({leaf({1})}, ClippedSGDOptions(0.01));
  StepLR scheduler(before, StepLROptions(2));
  ClippedSGD after(std::move(before));
  torch::optim::LRScheduler& base = scheduler;
  EXPECT_THAT(
      message_of([&] { base.step(); }),
      HasSubstr("StepLR: the optimizer must keep its 1 parameter groups"));
  EXPECT_EQ(after.param_groups()[0].options().get_lr(), 0.01);
}

TEST(OptimizerWithoutGroups, RefusesToStep) {
  RollbackSGD rollback({leaf({1})}, RollbackSGDOptions(0.1));
  rollback.param_groups().clear();
  EXPECT_THAT(
      message_of([&] { rollback.step(); }), HasSubstr("no parameter group"));
  PowerMethodSGD power({leaf({1})});
  power.param_groups().clear();
  EXPECT_THAT(
      message_of([&] { power.step([] { return torch::zeros({}); }); }),
      HasSubstr("no parameter group"));
}

TEST(Scheduler, MayBeDestroyedAfterItsOptimizer) {
  auto optimizer = std::make_unique<ClippedSGD>(
      std::vector<torch::Tensor>{leaf({1})}, ClippedSGDOptions(0.1));
  auto step_lr = std::make_unique<StepLR>(*optimizer, StepLROptions(2));
  auto plateau = std::make_unique<ReduceLROnPlateau>(*optimizer);
  auto curvature = std::make_unique<CurvatureLR>(*optimizer);
  auto guard = std::make_unique<GradientNormRollback>(*optimizer);
  static_cast<torch::optim::LRScheduler&>(*step_lr).step();
  optimizer.reset();
  // What was, is known without it.
  EXPECT_EQ(step_lr->last_epoch(), 1);
  EXPECT_EQ(plateau->get_last_lr(), std::vector<double>{0.1});
  EXPECT_EQ(curvature->products(), 0);
  EXPECT_EQ(guard->rollbacks(), 0);
}

}  // namespace
}  // namespace stepsize::test
