#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/optim/rollback_runs.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;
using torch::optim::OptimizerParamGroup;

RollbackSGD make_sgd(SmallRun& run, RollbackOptions rollback = {}) {
  return RollbackSGD(
      run.parameters(),
      RollbackSGDOptions(0.125).momentum(0.9).weight_decay(0.01).rollback(
          rollback.buffers(run.buffers())));
}

TEST(RollbackSGD, WithoutARollbackItIsSGD) {
  SmallRun run;
  SmallRun plain;
  auto sgd = make_sgd(run);
  torch::optim::SGD reference(
      plain.parameters(),
      torch::optim::SGDOptions(0.125).momentum(0.9).weight_decay(0.01));
  for (int64_t batch = 0; batch < 40; ++batch) {
    const auto loss = sgd.step(run.closure(batch)).item<double>();
    EXPECT_NEAR(
        reference.step(plain.closure(batch)).item<double>(), loss, 1e-12);
  }
  EXPECT_EQ(sgd.rollbacks(), 0);
  for (std::size_t i = 0; i < run.buffers().size(); ++i) {
    EXPECT_TRUE(torch::allclose(run.buffers()[i], plain.buffers()[i]));
  }
}

TEST(RollbackSGD, TakesABadStepBackBitForBit) {
  SmallRun run;
  SmallRun straight;
  auto sgd = make_sgd(run, RollbackOptions().window(1));
  auto reference = make_sgd(straight);
  for (int64_t batch = 0; batch < 10; ++batch) {
    sgd.step(run.closure(batch));
    reference.step(straight.closure(batch));
  }
  set_rate(sgd, 1e4);
  sgd.step(run.closure(10));
  set_rate(sgd, 0.125);
  const auto loss = sgd.step(run.closure(11));
  EXPECT_EQ(sgd.last_status(), RollbackStatus::kRolledBack);
  EXPECT_EQ(sgd.rate_scale(), 0.5);
  EXPECT_EQ(sgd.param_groups()[0].options().get_lr(), 0.125);
  // As if the bad step had not been, and the rate were half of what it is.
  set_rate(reference, 0.0625);
  EXPECT_TRUE(torch::equal(loss, reference.step(straight.closure(11))));
  run.expect_equal(straight);
  for (int64_t batch = 12; batch < 20; ++batch) {
    sgd.step(run.closure(batch));
    reference.step(straight.closure(batch));
  }
  run.expect_equal(straight);
}

TEST(RollbackSGD, WithoutAClosureItGoesOnByTheEarlierGradient) {
  SmallRun run;
  SmallRun straight;
  auto sgd = make_sgd(run, RollbackOptions().window(1).patience(1).z_score(0));
  auto reference = make_sgd(straight, RollbackOptions().confirm(false));
  for (int64_t batch = 0; batch < 10; ++batch) {
    run.closure(batch)();
    sgd.step();
    straight.closure(batch)();
    if (batch == 9) set_rate(reference, 0.0625);
    reference.step();
  }
  ASSERT_EQ(sgd.rollbacks(), 0);
  // As if the last step had been made with half the rate.
  run.closure(10)();
  run.parameters()[0].mutable_grad().fill_(kNaN);
  sgd.step();
  EXPECT_EQ(sgd.last_status(), RollbackStatus::kRolledBack);
  run.expect_equal(straight);
}

TEST(RollbackSGD, AnUnconfirmedSuspicionLeavesNoTrace) {
  SmallRun run;
  SmallRun plain;
  // Every step in which the gradient grows at all is looked into.
  auto sgd = make_sgd(run, RollbackOptions().ratio(1 + 1e-9).z_score(0));
  auto reference = make_sgd(plain);
  set_rate(sgd, 1e-4);
  set_rate(reference, 1e-4);
  for (int64_t batch = 0; batch < 40; ++batch) {
    sgd.step(run.closure(batch));
    reference.step(plain.closure(batch));
  }
  EXPECT_GT(sgd.rule().checks(), 10);
  EXPECT_EQ(sgd.rollbacks(), 0);
  run.expect_equal(plain);
}

TEST(RollbackSGD, AMiniBatchOfNaNChangesNothing) {
  SmallRun run;
  SmallRun straight;
  auto sgd = make_sgd(run);
  auto reference = make_sgd(straight);
  for (int64_t batch = 0; batch < 10; ++batch) {
    if (batch == 5) {
      sgd.step([&] {
        auto loss = run.closure(30)() * kNaN;
        run.buffers()[0].fill_(kNaN);
        for (auto& parameter : run.parameters()) {
          parameter.mutable_grad() = torch::full_like(parameter, kNaN);
        }
        return loss;
      });
      EXPECT_EQ(sgd.last_status(), RollbackStatus::kNonFinite);
    }
    sgd.step(run.closure(batch));
    reference.step(straight.closure(batch));
  }
  EXPECT_EQ(sgd.rule().non_finite(), 1);
  EXPECT_EQ(sgd.rate_scale(), 1);
  run.expect_equal(straight);
}

TEST(RollbackSGD, GoesOnBitForBitAfterALoadRightBeforeARollback) {
  SmallRun run;
  auto sgd = make_sgd(run);
  for (int64_t batch = 0; batch < 13; ++batch) sgd.step(run.closure(batch));
  set_rate(sgd, 1e4);
  sgd.step(run.closure(13));
  set_rate(sgd, 0.125);
  std::stringstream file;
  torch::save(sgd, file);
  SmallRun other;
  other.copy_from(run);
  auto resumed = make_sgd(other);
  torch::load(resumed, file);
  for (int64_t batch = 14; batch < 30; ++batch) {
    sgd.step(run.closure(batch));
    resumed.step(other.closure(batch));
  }
  EXPECT_EQ(sgd.rollbacks(), 1);
  EXPECT_EQ(resumed.rollbacks(), 1);
  EXPECT_EQ(resumed.rule().checks(), sgd.rule().checks());
  run.expect_equal(other);
}

TEST(RollbackSGD, PutsEverythingBackWhereTheClosureThrows) {
  SmallRun run;
  SmallRun twin;
  auto sgd = make_sgd(run, RollbackOptions().window(1));
  auto reference = make_sgd(twin, RollbackOptions().window(1));
  for (int64_t batch = 0; batch < 5; ++batch) {
    if (batch == 4) {
      set_rate(sgd, 1e4);
      set_rate(reference, 1e4);
    }
    sgd.step(run.closure(batch));
    reference.step(twin.closure(batch));
  }
  int calls = 0;
  const auto buffers_there = run.buffers()[0].clone();
  EXPECT_THROW(
      sgd.step([&] {
        if (++calls == 2) throw std::runtime_error("no memory");
        return run.closure(5)();
      }),
      std::runtime_error);
  EXPECT_EQ(calls, 2);
  EXPECT_FALSE(torch::equal(run.buffers()[0], buffers_there));
  for (std::size_t i = 0; i < run.parameters().size(); ++i) {
    EXPECT_TRUE(torch::equal(run.parameters()[i], twin.parameters()[i]));
    EXPECT_TRUE(run.parameters()[i].grad().defined());
  }
  EXPECT_EQ(sgd.rollbacks(), 0);
}

TEST(RollbackSGD, RefusesSparseGradientsAndForeignNumbersInAGroup) {
  auto x = torch::ones({3}, torch::requires_grad());
  RollbackSGD sgd({x}, RollbackSGDOptions(0.1));
  x.mutable_grad() = torch::ones({3}).to_sparse();
  EXPECT_THROW(sgd.step(), c10::Error);
  EXPECT_TRUE(torch::equal(x, torch::ones({3})));
  auto y = torch::ones({3}, torch::requires_grad());
  try {
    sgd.add_param_group(OptimizerParamGroup(
        {y},
        std::make_unique<RollbackSGDOptions>(
            RollbackSGDOptions(0.1).rollback(RollbackOptions().window(3)))));
    FAIL() << "was not refused";
  } catch (const c10::Error& error) {
    EXPECT_THAT(
        error.what_without_backtrace(),
        HasSubstr("must be the same in all parameter groups"));
  }
}

TEST(RollbackSGD, ParametersThatJoinAreRolledBackFromThenOn) {
  auto x = torch::ones({1}, torch::kFloat64).requires_grad_(true);
  auto y = torch::ones({1}, torch::kFloat64).requires_grad_(true);
  RollbackSGD sgd(
      {x}, RollbackSGDOptions(0.5).rollback(RollbackOptions::every_step()));
  x.mutable_grad() = torch::ones({1}, torch::kFloat64);
  sgd.step();
  sgd.add_param_group(OptimizerParamGroup({y}));
  y.mutable_grad() = torch::full({1}, 100, torch::kFloat64);
  sgd.step();
  // x goes back to 1 and on with half the rate; y was not there.
  EXPECT_EQ(x.item<double>(), 0.75);
  EXPECT_EQ(y.item<double>(), 1);
  x.mutable_grad().fill_(1);
  y.mutable_grad() = torch::ones({1}, torch::kFloat64);
  sgd.step();
  EXPECT_EQ(y.item<double>(), 0.75);
}

// At the optimum of a loss with a floor, two points have the same loss to the
// last bit: each doubled rate must be undone by the gradient alone.
TEST(RollbackSGD, AConvergedRunSurvivesItsRecoveries) {
  for (const double rate : {10.0, 100.0}) {
    auto x = torch::ones({4}, torch::kFloat64).requires_grad_(true);
    const auto curvature = torch::tensor({0.1, 0.3, 0.7, 1.0}, torch::kFloat64);
    RollbackSGD sgd({x}, RollbackSGDOptions(2 * rate));
    for (int step = 0; step < 3000; ++step) {
      const double loss = sgd.step([&] {
                               sgd.zero_grad();
                               auto value = 0.5 + (curvature * x * x).sum() / 2;
                               value.backward();
                               return value;
                             })
                              .item<double>();
      if (step > 300) {
        ASSERT_LT(loss, 0.5 + 1e-6);
      }
    }
    EXPECT_GT(sgd.rollbacks(), 5);
  }
}

}  // namespace
}  // namespace stepsize::test
