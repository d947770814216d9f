#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/cyclic_lr.h>
#include <stepsize/lr_scheduler/exponential_lr.h>
#include <stepsize/lr_scheduler/one_cycle_lr.h>
#include <stepsize/lr_scheduler/sequential_lr.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <torch/torch.h>

#include <functional>
#include <memory>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "tests/lr_scheduler/support/spec.h"
#include "tests/support/signum.h"

namespace stepsize::test {
namespace {

/// Options of an optimizer that is not LibTorch's.
struct CustomOptions : torch::optim::OptimizerCloneableOptions<CustomOptions> {
  explicit CustomOptions(double rate = 0.1) : lr(rate) {}
  double get_lr() const override { return lr; }
  void set_lr(const double value) override { lr = value; }
  double lr;
  double friction = 0.25;
};

class CustomOptimizer : public torch::optim::Optimizer {
 public:
  CustomOptimizer()
      : Optimizer(
            {torch::optim::OptimizerParamGroup({torch::zeros({1})})},
            std::make_unique<CustomOptions>()) {}
  torch::Tensor step(LossClosure) override { return {}; }
  CustomOptions& options() {
    return dynamic_cast<CustomOptions&>(param_groups()[0].options());
  }
};

/// The momentum is 1 - friction.
const MomentumAccess kFriction = MomentumAccess::of<CustomOptions>(
    [](const CustomOptions& o) { return 1 - o.friction; },
    [](CustomOptions& o, double momentum) { o.friction = 1 - momentum; });

OneCycleLROptions one_cycle_options() {
  return OneCycleLROptions(0.1).total_steps(11).pct_start(0.5);
}

TEST(Momentum, CyclesForEveryOptimizerOfLibTorchThatHasOne) {
  for (const char* name : {"SGD", "RMSprop", "Adam", "AdamW"}) {
    SCOPED_TRACE(name);
    const auto optimizer = make_optimizer(name, {0.1});
    CyclicLR scheduler(*optimizer, CyclicLROptions(0.1, 1.0).step_size_up(4));
    EXPECT_EQ(momenta_of(*optimizer)[0], 0.9);
    for (int i = 0; i < 4; ++i) scheduler.step();
    EXPECT_EQ(momenta_of(*optimizer)[0], 0.8);
    EXPECT_EQ(lrs_of(*optimizer)[0], 1.0);
  }
}

TEST(Momentum, LeavesBeta2Alone) {
  const auto optimizer = make_optimizer("Adam", {0.1});
  OneCycleLR scheduler(*optimizer, one_cycle_options());
  scheduler.step();
  const auto& options = dynamic_cast<torch::optim::AdamOptions&>(
      optimizer->param_groups()[0].options());
  EXPECT_EQ(std::get<1>(options.betas()), 0.999);
  EXPECT_LT(std::get<0>(options.betas()), 0.95);
}

TEST(Momentum, AnOptimizerWithoutOneIsRefusedWithTheRemedy) {
  const auto optimizer = make_optimizer("Adagrad", {0.1, 0.2});
  try {
    OneCycleLR scheduler(*optimizer, one_cycle_options());
    FAIL() << "no error";
  } catch (const c10::Error& error) {
    EXPECT_EQ(
        std::string(error.what_without_backtrace()),
        "OneCycleLR: cycle_momentum needs a momentum, and the options of "
        "parameter group 0 are of a type that has none known; set "
        "cycle_momentum(false), or say where it is with "
        "momentum_access(MomentumAccess::of<...>())");
  }
  EXPECT_EQ(lrs_of(*optimizer), std::vector<double>({0.1, 0.2}));
  EXPECT_NO_THROW(
      OneCycleLR(*optimizer, one_cycle_options().cycle_momentum(false)));
}

TEST(Momentum, AnotherOptionsTypeTakesPartThroughMomentumAccess) {
  CustomOptimizer optimizer;
  OneCycleLR scheduler(
      optimizer,
      one_cycle_options().base_momentum(0.5).max_momentum(0.75).momentum_access(
          kFriction));
  EXPECT_EQ(optimizer.options().friction, 0.25);
  scheduler.seek(10);
  EXPECT_EQ(optimizer.options().friction, 0.25);
  // The peak: pct_start 0.5 of 11 steps is at t = 4.5.
  scheduler.seek(4);
  EXPECT_GT(optimizer.options().friction, 0.45);
}

TEST(Momentum, StaysBetweenItsBounds) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  OneCycleLR scheduler(
      *optimizer, OneCycleLROptions(0.1).total_steps(300).three_phase(true));
  for (int t = 0; t < 320; ++t) {
    EXPECT_GE(momenta_of(*optimizer)[0], 0.85);
    EXPECT_LE(momenta_of(*optimizer)[0], 0.95);
    scheduler.step();
  }
}

TEST(Momentum, GoesBackAndForthInASequence) {
  const SequentialLROptions options(
      {ExponentialLROptions(0.9),
       OneCycleLROptions(0.1).total_steps(11).pct_start(0.5),
       ExponentialLROptions(0.5)},
      {5, 10});
  const auto optimizer = make_optimizer("SGD", {0.1});
  SequentialLR scheduler(*optimizer, options);
  // Before its turn the momentum is the optimizer's own; afterwards it stays
  // where the cycle was cut off.
  EXPECT_EQ(momenta_of(*optimizer)[0], 0.5);
  scheduler.seek(12);
  const double after = momenta_of(*optimizer)[0];
  EXPECT_LT(after, 0.95);
  EXPECT_GT(after, 0.85);
  scheduler.seek(40);
  EXPECT_EQ(momenta_of(*optimizer)[0], after);
  scheduler.seek(2);
  EXPECT_EQ(momenta_of(*optimizer)[0], 0.5);
}

TEST(Momentum, ASetterThatThrowsLeavesNothingHalfDone) {
  // Refuses the second group's once it is told to.
  const auto refusing = std::make_shared<bool>(false);
  const auto optimizer = make_optimizer("SGD", {0.1, 0.2});
  using Options = torch::optim::SGDOptions;
  const auto access = MomentumAccess::of<Options>(
      [](const Options& o) { return o.momentum(); },
      [refusing](Options& o, double momentum) {
        if (*refusing && o.lr() == 0.2) {
          o.momentum(-7);
          *refusing = false;  // lets itself be undone
          throw std::runtime_error("refused");
        }
        o.momentum(momentum);
      });
  OneCycleLR scheduler(
      *optimizer,
      OneCycleLROptions({2.5, 5.0}).total_steps(11).momentum_access(access));
  ASSERT_EQ(lrs_of(*optimizer), std::vector<double>({0.1, 0.2}));
  std::ostringstream stream;
  const auto other = make_optimizer("SGD", {0.1, 0.2});
  OneCycleLR ahead(*other, OneCycleLROptions({2.5, 5.0}).total_steps(11));
  ahead.seek(3);
  torch::save(ahead, stream);

  const auto expect_refusal = [&](const std::function<void()>& change) {
    *refusing = true;
    EXPECT_THROW(change(), std::runtime_error);
    EXPECT_FALSE(*refusing);
    EXPECT_EQ(lrs_of(*optimizer), std::vector<double>({0.1, 0.2}));
    EXPECT_EQ(momenta_of(*optimizer), std::vector<double>({0.95, 0.95}));
    EXPECT_EQ(scheduler.last_epoch(), 0);
  };
  expect_refusal([&] { scheduler.step(); });
  expect_refusal([&] { scheduler.seek(3); });
  expect_refusal([&] {
    std::istringstream input(stream.str());
    torch::load(scheduler, input);
  });
  std::istringstream input(stream.str());
  torch::load(scheduler, input);
  EXPECT_EQ(momenta_of(*optimizer), momenta_of(*other));
}

TEST(Momentum, AGroupAddedLaterMustHaveOneToo) {
  CustomOptimizer optimizer;
  CyclicLR scheduler(
      optimizer,
      CyclicLROptions(0.1, 1.0).step_size_up(4).momentum_access(kFriction));
  torch::optim::OptimizerParamGroup group({torch::zeros({1})});
  optimizer.add_param_group(group);
  optimizer.param_groups()[1].set_options(
      std::make_unique<torch::optim::AdagradOptions>(0.2));
  const double friction = optimizer.options().friction;
  EXPECT_THROW(scheduler.step(), c10::Error);
  EXPECT_EQ(scheduler.last_epoch(), 0);
  EXPECT_EQ(optimizer.options().friction, friction);
  EXPECT_EQ(optimizer.options().lr, 0.1);
}

TEST(Momentum, IsFoundInTheOptimizersOfThisLibrary) {
  const auto options = one_cycle_options();
  const auto parameter = torch::zeros({1}, torch::requires_grad());
  torch::optim::SGD reference({parameter}, torch::optim::SGDOptions(0.1));
  ClippedSGD sgd({parameter}, ClippedSGDOptions(0.1));
  ClippedAdamW adamw({parameter}, ClippedAdamWOptions(0.1));
  OneCycleLR reference_scheduler(reference, options);
  OneCycleLR sgd_scheduler(sgd, options);
  OneCycleLR adamw_scheduler(adamw, options);
  std::set<double> seen;
  for (int i = 0; i < 8; ++i) {
    const auto expected = momenta_of(reference).front();
    seen.insert(expected);
    EXPECT_EQ(
        dynamic_cast<const ClippedSGDOptions&>(sgd.param_groups()[0].options())
            .momentum(),
        expected);
    EXPECT_EQ(
        std::get<0>(dynamic_cast<const ClippedAdamWOptions&>(
                        adamw.param_groups()[0].options())
                        .betas()),
        expected);
    EXPECT_EQ(sgd_scheduler.get_last_lr(), reference_scheduler.get_last_lr());
    reference_scheduler.step();
    sgd_scheduler.step();
    adamw_scheduler.step();
  }
  EXPECT_GT(seen.size(), 4U);
}

TEST(Momentum, IsFoundByItsRoleInOptionsThatDescribeThemselves) {
  Signum optimizer({torch::zeros({1}, torch::requires_grad())});
  OneCycleLR scheduler(optimizer, one_cycle_options());
  const auto& options =
      static_cast<const SignumOptions&>(optimizer.param_groups()[0].options());
  EXPECT_EQ(options.momentum(), 0.95);
  scheduler.seek(4);
  EXPECT_LT(options.momentum(), 0.87);
}

}  // namespace
}  // namespace stepsize::test
