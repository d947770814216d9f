#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/gradient_norm_rollback.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/optim/rollback_runs.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;
using torch::optim::Optimizer;

struct Guarded {
  std::string name;
  std::function<std::unique_ptr<Optimizer>(std::vector<torch::Tensor>)> make;
};

template <typename Kind, typename Options>
Guarded guarded(std::string name, const Options& options) {
  return {std::move(name), [options](std::vector<torch::Tensor> parameters) {
            return std::make_unique<Kind>(std::move(parameters), options);
          }};
}

std::vector<Guarded> all_guarded() {
  using namespace torch::optim;
  return {
      guarded<SGD>("SGD", SGDOptions(0.0625).momentum(0.9)),
      guarded<Adam>("Adam", AdamOptions(0.0625).amsgrad(true)),
      guarded<AdamW>("AdamW", AdamWOptions(0.0625)),
      guarded<RMSprop>(
          "RMSprop", RMSpropOptions(0.0078125).momentum(0.5).centered(true)),
      guarded<Adagrad>("Adagrad", AdagradOptions(0.0625)),
      guarded<ClippedSGD>(
          "ClippedSGD", ClippedSGDOptions(0.0625).momentum(0.9)),
      guarded<ClippedAdamW>("ClippedAdamW", ClippedAdamWOptions(0.0625))};
}

class RollbackGuard : public testing::TestWithParam<Guarded> {};

// The earlier point is the very first one too: where there is no state yet.
TEST_P(RollbackGuard, TakesABadStepBackBitForBit) {
  for (const int64_t good_steps : {0, 10}) {
    SmallRun run;
    SmallRun straight;
    const auto optimizer = GetParam().make(run.parameters());
    const auto reference = GetParam().make(straight.parameters());
    const double rate = optimizer->param_groups()[0].options().get_lr();
    GradientNormRollback guard(
        *optimizer, RollbackOptions().window(1).buffers(run.buffers()));
    for (int64_t batch = 0; batch < good_steps; ++batch) {
      guard.step(run.closure(batch));
      reference->step(straight.closure(batch));
    }
    set_rate(*optimizer, 1e4);
    guard.step(run.closure(10));
    set_rate(*optimizer, rate);
    guard.step(run.closure(11));
    ASSERT_EQ(guard.last_status(), RollbackStatus::kRolledBack);
    EXPECT_EQ(guard.rate_scale(), 0.5);
    EXPECT_EQ(optimizer->param_groups()[0].options().get_lr(), rate);
    set_rate(*reference, rate / 2);
    reference->step(straight.closure(11));
    run.expect_equal(straight);
    for (int64_t batch = 12; batch < 20; ++batch) {
      guard.step(run.closure(batch));
      reference->step(straight.closure(batch));
    }
    ASSERT_EQ(guard.rollbacks(), 1);
    run.expect_equal(straight);
  }
}

TEST_P(RollbackGuard, GoesOnBitForBitAfterALoadRightBeforeARollback) {
  SmallRun run;
  const auto optimizer = GetParam().make(run.parameters());
  const double rate = optimizer->param_groups()[0].options().get_lr();
  const auto options_of = [](SmallRun& owner) {
    return RollbackOptions().buffers(owner.buffers());
  };
  GradientNormRollback guard(*optimizer, options_of(run));
  for (int64_t batch = 0; batch < 13; ++batch) guard.step(run.closure(batch));
  set_rate(*optimizer, 1e4);
  guard.step(run.closure(13));
  set_rate(*optimizer, rate);
  std::stringstream optimizer_file;
  std::stringstream guard_file;
  torch::save(*optimizer, optimizer_file);
  torch::save(guard, guard_file);

  SmallRun other;
  other.copy_from(run);
  const auto other_optimizer = GetParam().make(other.parameters());
  GradientNormRollback resumed(*other_optimizer, options_of(other));
  torch::load(*other_optimizer, optimizer_file);
  torch::load(resumed, guard_file);
  for (int64_t batch = 14; batch < 30; ++batch) {
    guard.step(run.closure(batch));
    resumed.step(other.closure(batch));
  }
  EXPECT_GE(guard.rollbacks(), 1);
  EXPECT_EQ(resumed.rollbacks(), guard.rollbacks());
  EXPECT_EQ(resumed.rate_scale(), guard.rate_scale());
  run.expect_equal(other);
}

INSTANTIATE_TEST_SUITE_P(
    All,
    RollbackGuard,
    testing::ValuesIn(all_guarded()),
    [](const auto& tested) { return tested.param.name; });

TEST(GradientNormRollback, WithSGDItIsRollbackSGD) {
  SmallRun run;
  SmallRun own;
  torch::optim::SGD sgd(
      run.parameters(), torch::optim::SGDOptions(20).momentum(0.5));
  GradientNormRollback guard(sgd, RollbackOptions().buffers(run.buffers()));
  RollbackSGD rollback_sgd(
      own.parameters(),
      RollbackSGDOptions(20).momentum(0.5).rollback(
          RollbackOptions().buffers(own.buffers())));
  for (int64_t batch = 0; batch < 25; ++batch) {
    const double loss = guard.step(run.closure(batch)).item<double>();
    const double same = rollback_sgd.step(own.closure(batch)).item<double>();
    EXPECT_NEAR(loss, same, 1e-6 * std::abs(same)) << batch;
  }
  EXPECT_GT(guard.rollbacks(), 2);
  EXPECT_EQ(guard.rollbacks(), rollback_sgd.rollbacks());
  EXPECT_EQ(guard.rule().checks(), rollback_sgd.rule().checks());
}

TEST(GradientNormRollback, LeavesTheRateToWhoeverSchedulesIt) {
  auto x = torch::ones({1}, torch::kFloat64).requires_grad_(true);
  torch::optim::SGD sgd({x}, 1024);
  GradientNormRollback guard(sgd);
  for (int step = 1; step <= 20; ++step) {
    guard.step([&] {
      sgd.zero_grad();
      auto loss = x.square().sum() / 2;
      loss.backward();
      return loss;
    });
    auto& options = sgd.param_groups()[0].options();
    EXPECT_EQ(options.get_lr(), std::ldexp(1024, 1 - step));
    // As ExponentialLR does it.
    options.set_lr(options.get_lr() * 0.5);
  }
  EXPECT_GT(guard.rollbacks(), 0);
  EXPECT_LE(std::abs(x.item<double>()), 1);
}

TEST(GradientNormRollback, GuardsSparseGradients) {
  auto x = torch::ones({4}, torch::kFloat64).requires_grad_(true);
  torch::optim::SGD sgd({x}, 0.5);
  GradientNormRollback guard(sgd, RollbackOptions::every_step());
  const auto step = [&](double value) {
    x.mutable_grad() = torch::sparse_coo_tensor(
        torch::tensor({{1}}), torch::tensor({value}, torch::kFloat64), {4});
    guard.step();
  };
  step(1);
  EXPECT_EQ(x[1].item<double>(), 0.5);
  step(3);
  EXPECT_EQ(guard.last_status(), RollbackStatus::kRolledBack);
  EXPECT_EQ(x[1].item<double>(), 0.75);
  std::stringstream file;
  torch::save(guard, file);
  torch::load(guard, file);
  step(std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(x[1].item<double>(), 0.875);
}

TEST(GradientNormRollback, RefusesWhatItCannotPutBack) {
  auto x = torch::ones({1}, torch::requires_grad());
  torch::optim::LBFGS lbfgs({x}, torch::optim::LBFGSOptions(1));
  try {
    GradientNormRollback guard(lbfgs);
    FAIL() << "was not refused";
  } catch (const c10::Error& error) {
    EXPECT_THAT(
        error.what_without_backtrace(),
        HasSubstr("GradientNormRollback: cannot put back the state"));
  }
}

TEST(GradientNormRollback, ARefusedLoadChangesNothing) {
  auto x = torch::ones({2}, torch::kFloat64).requires_grad_(true);
  torch::optim::SGD sgd({x}, 0.5);
  GradientNormRollback guard(sgd, RollbackOptions::every_step());
  const auto step = [&](double value) {
    x.mutable_grad() = torch::full({2}, value, torch::kFloat64);
    guard.step();
  };
  step(1);
  const auto expect_refused = [&](std::stringstream& file, const char* text) {
    try {
      torch::load(guard, file);
      ADD_FAILURE() << "loaded: " << text;
    } catch (const c10::Error& error) {
      EXPECT_THAT(error.what_without_backtrace(), HasSubstr(text));
    }
  };
  {
    std::stringstream file;
    torch::save(sgd, file);
    expect_refused(file, "holds no guard");
  }
  {
    std::stringstream file;
    torch::save(GradientNormRollback(sgd), file);
    expect_refused(file, "of a guard with other options");
  }
  {
    std::stringstream file;
    auto y = torch::ones({3}, torch::kFloat64).requires_grad_(true);
    torch::optim::SGD other_sgd({y}, 0.5);
    GradientNormRollback other(other_sgd, RollbackOptions::every_step());
    y.mutable_grad() = torch::ones({3}, torch::kFloat64);
    other.step();
    torch::save(other, file);
    expect_refused(file, "an earlier parameter of the archive is of shape");
  }
  step(100);
  EXPECT_EQ(guard.rollbacks(), 1);
  EXPECT_EQ(x[0].item<double>(), 0.75);
}

}  // namespace
}  // namespace stepsize::test
