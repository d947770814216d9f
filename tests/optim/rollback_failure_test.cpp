#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/gradient_norm_rollback.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/torch.h>

#include <cmath>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/optim/rollback_runs.h"
#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;

struct HeavyBallOptions
    : torch::optim::OptimizerCloneableOptions<HeavyBallOptions> {
  double rate = 0.0625;
  double get_lr() const override { return rate; }
  void set_lr(const double lr) override { rate = lr; }
};

// An optimizer of a user's: momentum in a member.
class HeavyBall : public torch::optim::Optimizer {
 public:
  explicit HeavyBall(std::vector<torch::Tensor> parameters)
      : Optimizer(std::move(parameters), std::make_unique<HeavyBallOptions>()) {
    for (const auto& parameter : param_groups()[0].params()) {
      velocities_.push_back(torch::zeros_like(parameter));
    }
  }
  torch::Tensor step(LossClosure /*closure*/ = nullptr) override {
    const torch::NoGradGuard no_grad;
    ++steps_;
    const double rate = param_groups()[0].options().get_lr();
    for (std::size_t i = 0; i < velocities_.size(); ++i) {
      auto& parameter = param_groups()[0].params()[i];
      velocities_[i] = 0.9 * velocities_[i] + parameter.grad();
      parameter.sub_(rate / static_cast<double>(steps_) * velocities_[i]);
    }
    return {};
  }
  void save(torch::serialize::OutputArchive& archive) const override {
    archive.write("steps", torch::IValue(steps_));
    for (std::size_t i = 0; i < velocities_.size(); ++i) {
      archive.write("velocity" + std::to_string(i), velocities_[i]);
    }
    // As LibTorch's own do; the guard leaves rates to their scheduler.
    archive.write("rate", torch::IValue(param_groups()[0].options().get_lr()));
  }
  void load(torch::serialize::InputArchive& archive) override {
    torch::IValue value;
    archive.read("steps", value);
    steps_ = value.toInt();
    for (std::size_t i = 0; i < velocities_.size(); ++i) {
      archive.read("velocity" + std::to_string(i), velocities_[i]);
    }
    archive.read("rate", value);
    param_groups()[0].options().set_lr(value.toDouble());
  }

 private:
  std::vector<torch::Tensor> velocities_;
  int64_t steps_ = 0;
};

class Forgetful : public torch::optim::SGD {
 public:
  using SGD::SGD;
  void save(torch::serialize::OutputArchive& archive) const override {
    Optimizer::save(archive);
  }
};

// As LibTorch's, but no longer of its very class.
class OwnSGD : public torch::optim::SGD {
 public:
  using SGD::SGD;
};

struct OwnState : torch::optim::OptimizerCloneableParamState<OwnState> {};

// The earlier point is the very first one too: where there is no state yet.
template <typename Make>
void takes_a_bad_step_back(const Make& make) {
  for (const int64_t good_steps : {0, 10}) {
    SmallRun run;
    SmallRun straight;
    const auto optimizer = make(run.parameters());
    const auto reference = make(straight.parameters());
    const double rate = optimizer->param_groups()[0].options().get_lr();
    const auto plain_step = [&](int64_t batch) {
      straight.closure(batch)();
      reference->step();
    };
    GradientNormRollback guard(
        *optimizer, RollbackOptions().window(1).buffers(run.buffers()));
    for (int64_t batch = 0; batch < good_steps; ++batch) {
      guard.step(run.closure(batch));
      plain_step(batch);
    }
    set_rate(*optimizer, 1e4);
    guard.step(run.closure(10));
    set_rate(*optimizer, rate);
    // The guard and what it keeps go through a file, too.
    std::stringstream file;
    torch::save(guard, file);
    torch::load(guard, file);
    guard.step(run.closure(11));
    ASSERT_EQ(guard.last_status(), RollbackStatus::kRolledBack);
    EXPECT_EQ(optimizer->param_groups()[0].options().get_lr(), rate);
    set_rate(*reference, rate / 2);
    plain_step(11);
    run.expect_equal(straight);
    for (int64_t batch = 12; batch < 16; ++batch) {
      guard.step(run.closure(batch));
      plain_step(batch);
    }
    ASSERT_EQ(guard.rollbacks(), 1);
    run.expect_equal(straight);
  }
}

TEST(RollbackOfAnyOptimizer, PutsBackWhatAUsersOwnClassSaves) {
  takes_a_bad_step_back([](std::vector<torch::Tensor> parameters) {
    return std::make_unique<HeavyBall>(std::move(parameters));
  });
}

TEST(RollbackOfAnyOptimizer, PutsASubclassOfLibTorchsBack) {
  takes_a_bad_step_back([](std::vector<torch::Tensor> parameters) {
    return std::make_unique<OwnSGD>(
        std::move(parameters), torch::optim::SGDOptions(0.0625).momentum(0.9));
  });
}

TEST(RollbackOfAnyOptimizer, ForgetsThePointWhereParametersJoin) {
  auto x = leaf({1});
  auto y = leaf({1});
  OwnSGD sgd({x}, torch::optim::SGDOptions(0.5).momentum(0.5));
  GradientNormRollback guard(sgd, RollbackOptions::every_step());
  x.mutable_grad() = torch::ones_like(x);
  guard.step();
  sgd.param_groups()[0].params().push_back(y);
  x.mutable_grad() = torch::full_like(x, 100);
  guard.step();
  EXPECT_EQ(guard.last_status(), RollbackStatus::kAccepted);
}

TEST(RollbackOfAnyOptimizer, RefusesWhatCannotBePutBack) {
  auto x = leaf({1});
  const auto refusal = [](torch::optim::Optimizer& optimizer) {
    return message_of([&] { GradientNormRollback guard(optimizer); });
  };
  Forgetful forgetful({x}, torch::optim::SGDOptions(0.1));
  EXPECT_THAT(
      refusal(forgetful),
      testing::AllOf(
          HasSubstr("Forgetful"), HasSubstr("override save() and load()")));
  PowerMethodSGD power({x});
  EXPECT_THAT(refusal(power), HasSubstr("cannot guard PowerMethodSGD"));
  RollbackSGD rollback({x}, RollbackSGDOptions(0.1));
  EXPECT_THAT(refusal(rollback), HasSubstr("cannot guard RollbackSGD"));
  // State of another class than the one that SGD::save takes it for.
  OwnSGD own({x}, torch::optim::SGDOptions(0.1).momentum(0.5));
  GradientNormRollback guard(own);
  x.mutable_grad() = torch::ones_like(x);
  guard.step();
  for (auto& entry : own.state()) entry.second = std::make_unique<OwnState>();
  EXPECT_THAT(
      message_of([&] { guard.step(); }),
      testing::AllOf(HasSubstr("OwnState"), HasSubstr("SGDParamState")));
}

TEST(RollbackFailure, AnUpdateThatThrowsLeavesTheRuleAsItWas) {
  auto x = leaf({1});
  ClippedSGD sgd({x}, ClippedSGDOptions(0.5));
  GradientNormRollback guard(sgd);
  x.mutable_grad() = torch::ones_like(x);
  const auto fail = [&] {
    set_rate(sgd, kNaN);
    EXPECT_THROW(guard.step(), c10::Error);
    set_rate(sgd, 0.5);
  };
  fail();
  EXPECT_FALSE(guard.rule().state().has_point);
  EXPECT_EQ(guard.rule().state().good_steps, 0);
  EXPECT_EQ(guard.rule().state().age, 0);
  guard.step();
  guard.step();
  const auto before = guard.rule().state();
  fail();
  EXPECT_EQ(guard.rule().state().good_steps, before.good_steps);
  EXPECT_EQ(guard.rule().state().samples, before.samples);
}

TEST(
    RollbackFailure, ASecondEvaluationThatThrowsLeavesNoTraceInTheRandomState) {
  auto x = leaf({1});
  RollbackSGD sgd(
      {x}, RollbackSGDOptions(1).rollback(RollbackOptions().window(1)));
  const auto closure = [&] {
    sgd.zero_grad();
    const auto loss = x.square().sum() + 0 * torch::rand({1}).sum();
    loss.backward();
    return loss;
  };
  sgd.step(closure);
  {
    const torch::NoGradGuard no_grad;
    x.fill_(100);
  }
  torch::manual_seed(1);
  int calls = 0;
  const auto state = sgd.rule().state();
  EXPECT_THROW(
      sgd.step([&] {
        if (++calls == 2) throw std::runtime_error("no memory");
        return closure();
      }),
      std::runtime_error);
  ASSERT_EQ(calls, 2);
  EXPECT_EQ(sgd.rule().last_grad_norm(), state.last_norm);
  const double next = torch::rand({1}).item<double>();
  torch::manual_seed(1);
  torch::rand({1});
  EXPECT_EQ(next, torch::rand({1}).item<double>());
}

TEST(RollbackRuleNumbers, ARatioThatOverflowsPoisonsNothing) {
  RollbackRule rule;
  rule.observe(1e-310, false);
  for (int i = 0; i < 600; ++i) rule.observe(1, false);
  // It did not take the point back for ever.
  EXPECT_EQ(rule.gave_up(), 1);
  EXPECT_TRUE(std::isfinite(rule.state().mean));
  EXPECT_TRUE(std::isfinite(rule.state().variance));
  RollbackRule().set_state(rule.state());
  // The gate is at work again.
  rule.observe(1e6, false);
  EXPECT_EQ(rule.observe(1e6, false), RollbackStatus::kRolledBack);
  // A ratio below the smallest number is no zero, which anything would pass.
  RollbackRule small;
  small.observe(1e-300, true);
  ASSERT_EQ(small.observe(1e-290, true), RollbackStatus::kSuspect);
  small.confirm(1e300, true);
  EXPECT_GT(small.state().point_norm, 0);
}

}  // namespace
}  // namespace stepsize::test
