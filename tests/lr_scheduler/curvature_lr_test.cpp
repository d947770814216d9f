#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/curvature_lr.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <stepsize/schedule/ramp.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/archive_bytes.h"
#include "tests/support/bowl.h"
#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;
using torch::optim::OptimizerParamGroup;
using torch::optim::SGD;
using torch::optim::SGDOptions;

// One update in the order of the class's example.
void update(
    torch::optim::Optimizer& optimizer,
    CurvatureLR& scheduler,
    const std::function<torch::Tensor()>& loss_of) {
  optimizer.zero_grad();
  const auto loss = loss_of();
  scheduler.observe(loss);
  loss.backward();
  optimizer.step();
  scheduler.step();
}

TEST(CurvatureLR, SetsTheShareOfTheLimit) {
  const auto x = leaf({1, 1, 1});
  SGD sgd({x}, SGDOptions(0.125));
  CurvatureLR scheduler(
      sgd, CurvatureLROptions().tracker(SharpnessTrackerOptions().safety(0.8)));
  EXPECT_EQ(rate_of(sgd), 0.125);
  EXPECT_TRUE(std::isnan(scheduler.sharpness()));
  EXPECT_TRUE(scheduler.observe(bowl(x)));
  // Twenty products: (10/40)^40 of the error is left.
  EXPECT_NEAR(scheduler.sharpness(), 40, 1e-9);
  EXPECT_NEAR(rate_of(sgd), 2 * 0.8 / 40, 1e-12);
  EXPECT_EQ(scheduler.get_last_lr(), std::vector<double>{rate_of(sgd)});
  EXPECT_EQ(scheduler.products(), 20);
  EXPECT_FALSE(x.grad().defined());
}

TEST(CurvatureLR, TakesTheLimitOfAQuadraticWhereItIsTold) {
  for (const bool nesterov : {false, true}) {
    const auto x = leaf({1, 1, 1});
    SGD sgd({x}, SGDOptions(0.125).momentum(0.5).nesterov(nesterov));
    CurvatureLR scheduler(
        sgd, CurvatureLROptions().momentum_limit(MomentumLimit::kQuadratic));
    scheduler.observe(bowl(x));
    // Half of (2 + 2 m) / lambda, and of (2 + 2 m) / ((1 + 2 m) lambda).
    EXPECT_NEAR(rate_of(sgd), (nesterov ? 0.75 : 1.5) / 40, 1e-12);
    EXPECT_THAT(scheduler.describe(), HasSubstr("momentum_limit=quadratic"));
  }
}

TEST(CurvatureLR, WithoutAnObservationTheRateStays) {
  const auto x = leaf({1, 1, 1});
  SGD sgd({x}, SGDOptions(0.125));
  CurvatureLR scheduler(sgd);
  torch::optim::LRScheduler& base = scheduler;
  base.step();
  base.step();
  EXPECT_EQ(rate_of(sgd), 0.125);
  EXPECT_EQ(scheduler.last_epoch(), 2);
}

// While the curvature nearly doubles, with momentum and decay: the rates of
// PowerMethodSGD, and the same path. The gradient grows with it, yet not to
// twice its usual length, from where on PowerMethodSGD cuts it.
TEST(CurvatureLR, GivesSGDTheRatesOfPowerMethodSGD) {
  const auto factor = [](int step) { return step < 60 ? 1.0 : 1.9; };
  const auto x = leaf({1, -2, 3});
  const auto y = leaf({1, -2, 3});
  SGD sgd({x}, SGDOptions(1).momentum(0.5).weight_decay(0.25).nesterov(true));
  CurvatureLR scheduler(sgd);
  PowerMethodSGD own(
      {y},
      PowerMethodSGDOptions().momentum(0.5).weight_decay(0.25).nesterov(true));
  for (int step = 0; step < 180; ++step) {
    SCOPED_TRACE(step);
    sgd.zero_grad();
    const auto loss = bowl(x, factor(step));
    scheduler.observe(loss);
    loss.backward();
    sgd.step();
    const double used = rate_of(sgd);
    scheduler.step();
    own.step([&] { return bowl(y, factor(step)); });
    ASSERT_NEAR(used, own.current_lr(), 1e-12);
    ASSERT_EQ(scheduler.products(), own.products());
    ASSERT_TRUE(torch::allclose(x, y, 1e-9, 1e-12));
    if (step == 70) {
      ASSERT_NEAR(scheduler.sharpness(), 76, 1e-9);
    }
  }
}

// Fifty times the curvature between two measurements is seen at the next one,
// ten updates on at most, and forgotten by a hundredth a measurement.
TEST(CurvatureLR, FollowsASpikeFromTheNextMeasurementOn) {
  const auto factor = [](int step) { return step / 60 == 1 ? 50.0 : 1.0; };
  const auto x = leaf({1, -2, 3});
  SGD sgd({x}, SGDOptions(1).momentum(0.5).weight_decay(0.25));
  CurvatureLR scheduler(sgd);
  // Of lambda: s = 1/2, half of that by the momentum, and the decay.
  const auto rate_at = [](double lambda) { return 0.5 / (lambda + 0.25); };
  double lambda = 40;
  int last_measured = 0;
  int measured_after = 0;
  for (int step = 0; step < 300; ++step) {
    SCOPED_TRACE(step);
    const bool measured = scheduler.observe(bowl(x, factor(step)));
    if (measured) {
      const int gap = step - last_measured;
      last_measured = step;
      ASSERT_LE(gap, 10);
      const double now = 40 * factor(step);
      // A rate that falls holds in this update, one that rises in the next.
      if (now >= lambda) {
        lambda = now;
        ASSERT_NEAR(rate_of(sgd), rate_at(lambda), 1e-10);
      } else {
        ASSERT_NEAR(rate_of(sgd), rate_at(lambda), 1e-10);
        ++measured_after;
        lambda = 40 + 1960 * std::pow(0.99, measured_after);
      }
      ASSERT_NEAR(scheduler.sharpness(), lambda, 1e-6);
    }
    scheduler.step();
    ASSERT_NEAR(rate_of(sgd), rate_at(lambda), 1e-10);
    if (step == 59) {
      ASSERT_EQ(lambda, 40);
    }
    if (step == 69) {
      ASSERT_EQ(lambda, 2000);
    }
  }
  EXPECT_GE(measured_after, 15);
}

// An optimizer that has to be described.
class OfItsOwn : public torch::optim::Optimizer {
 public:
  struct Options : torch::optim::OptimizerCloneableOptions<Options> {
    double lr = 1;
    double get_lr() const override { return lr; }
    void set_lr(const double value) override { lr = value; }
  };
  explicit OfItsOwn(const torch::Tensor& x)
      : Optimizer({OptimizerParamGroup({x})}, std::make_unique<Options>()) {}
  torch::Tensor step(LossClosure /*closure*/) override { return {}; }
};

TEST(CurvatureLR, TakesMomentumAndDecayOfEachRuleIntoTheLimit) {
  describe_optimizer(
      OptimizerTraits::of<OfItsOwn>(OptionList<OfItsOwn::Options>("OfItsOwn")
                                        .option("lr", &OfItsOwn::Options::lr)
                                        .role(OptionRole::kRate))
          .gradient(GradientUse::kDescends));
  struct Case {
    std::function<std::unique_ptr<torch::optim::Optimizer>(torch::Tensor)> make;
    double expected;
  };
  const double plain = 1.0 / 40;
  // The effective rate stays.
  const double slowed = 0.5 * plain;
  const std::vector<Case> cases{
      {[](torch::Tensor x) {
         return std::make_unique<SGD>(
             std::vector<torch::Tensor>{x}, SGDOptions(1).momentum(0.5));
       },
       slowed},
      {[](torch::Tensor x) {
         return std::make_unique<ClippedSGD>(
             std::vector<torch::Tensor>{x},
             ClippedSGDOptions(1).momentum(0.5).nesterov(true));
       },
       slowed},
      {[](torch::Tensor x) {
         return std::make_unique<ClippedSGD>(
             std::vector<torch::Tensor>{x},
             ClippedSGDOptions(1).weight_decay(10).decoupled_weight_decay(
                 true));
       },
       plain},
      {[](torch::Tensor x) {
         return std::make_unique<RollbackSGD>(
             std::vector<torch::Tensor>{x},
             RollbackSGDOptions(1).weight_decay(10));
       },
       1.0 / 50},
      {[](torch::Tensor x) {
         return std::make_unique<SGD>(
             std::vector<torch::Tensor>{x}, SGDOptions(1).dampening(0.5));
       },
       plain},
      {[](torch::Tensor x) { return std::make_unique<OfItsOwn>(x); }, plain},
  };
  for (const auto& c : cases) {
    const auto x = leaf({1, 1, 1});
    const auto optimizer = c.make(x);
    CurvatureLR scheduler(*optimizer);
    scheduler.observe(bowl(x));
    EXPECT_NEAR(rate_of(*optimizer), c.expected, 1e-12);
  }
}

TEST(CurvatureLR, GroupsHaveTheirFactorsAndAScheduleMultiplies) {
  const auto x = leaf({1, 1, 1});
  const auto y = leaf({1});
  SGD sgd(
      std::vector<OptimizerParamGroup>{
          OptimizerParamGroup({x}), OptimizerParamGroup({y})},
      SGDOptions(1));
  CurvatureLR scheduler(
      sgd,
      CurvatureLROptions()
          .tracker(SharpnessTrackerOptions().lr_growth(1))
          .factor({1, 0.5})
          .schedule(linear(4)));
  for (int step = 0; step < 5; ++step) {
    update(sgd, scheduler, [&] { return bowl(x) + y.square().sum(); });
    const double shape = 1 - (step + 1) / 4.0;
    EXPECT_NEAR(rate_of(sgd, 0), std::max(shape, 0.0) / 40, 1e-12);
    EXPECT_NEAR(rate_of(sgd, 1), std::max(shape, 0.0) / 80, 1e-12);
  }
}

// Its backward leaves the graph, so that autograd has no second derivative.
struct NoSecondDerivative
    : public torch::autograd::Function<NoSecondDerivative> {
  static torch::Tensor forward(
      torch::autograd::AutogradContext* context, const torch::Tensor& x) {
    context->save_for_backward({x});
    return 10 * x.square().sum();
  }
  static torch::autograd::tensor_list backward(
      torch::autograd::AutogradContext* context,
      torch::autograd::tensor_list grad) {
    TORCH_CHECK(
        !torch::GradMode::is_enabled(), "no double backward for this one");
    return {20 * context->get_saved_variables()[0] * grad[0]};
  }
};

TEST(CurvatureLR, AClosureServesWhereThereIsNoDoubleBackward) {
  const auto x = leaf({1, 2});
  SGD sgd({x}, SGDOptions(0.125));
  CurvatureLR scheduler(sgd);
  const auto loss_of = [&] { return NoSecondDerivative::apply(x); };
  EXPECT_THROW(scheduler.observe(loss_of()), c10::Error);
  EXPECT_EQ(rate_of(sgd), 0.125);
  EXPECT_EQ(scheduler.products(), 0);
  EXPECT_TRUE(scheduler.observe(loss_of));
  EXPECT_NEAR(scheduler.sharpness(), 20, 1e-4);
  EXPECT_NEAR(rate_of(sgd), 1.0 / 20, 1e-6);
  // Its work is done until the next update.
  EXPECT_FALSE(x.grad().defined());
}

TEST(CurvatureLR, CallsAClosureOnlyWhereItMeasures) {
  const auto x = leaf({1, 1, 1});
  SGD sgd({x}, SGDOptions(0.125));
  CurvatureLR scheduler(sgd);
  int measured = 0;
  int evaluated = 0;
  for (int step = 0; step < 40; ++step) {
    measured += scheduler.observe([&] {
      ++evaluated;
      return bowl(x);
    });
    scheduler.step();
  }
  // At updates 1, 2, 4, 8, 16, 26, 36: intervals 1, 2, 4, 8, 10, 10.
  EXPECT_EQ(measured, 7);
  EXPECT_EQ(evaluated, 7);
  EXPECT_EQ(scheduler.products(), 5 * 20 + 2);
}

TEST(CurvatureLR, ACurvatureThatIsNoNumberIsCountedAndTriedAgain) {
  const auto x = leaf({1, 1, 1});
  SGD sgd({x}, SGDOptions(0.125));
  CurvatureLR scheduler(sgd);
  EXPECT_FALSE(scheduler.observe(bowl(x, kNaN)));
  EXPECT_EQ(rate_of(sgd), 0.125);
  EXPECT_EQ(scheduler.failed_measurements(), 1);
  EXPECT_TRUE(scheduler.due());
  EXPECT_TRUE(scheduler.observe(bowl(x)));
  EXPECT_NEAR(rate_of(sgd), 1.0 / 40, 1e-12);
}

TEST(CurvatureLR, MeasuresAnewWhereTheParametersHaveChanged) {
  const auto x = leaf({1, 1, 1});
  const auto y = leaf({1, 1});
  SGD sgd({x}, SGDOptions(1));
  CurvatureLR scheduler(sgd);
  update(sgd, scheduler, [&] { return bowl(x); });
  sgd.add_parameters({y});
  update(sgd, scheduler, [&] { return bowl(x) + 100 * y.square().sum(); });
  EXPECT_NEAR(scheduler.sharpness(), 200, 1e-6);
}

TEST(CurvatureLR, GoesOnBitForBitAfterALoad) {
  struct Run {
    torch::Tensor x = leaf({1, -2, 3});
    SGD sgd{{x}, SGDOptions(1).momentum(0.5)};
    CurvatureLR scheduler{sgd};
    void go(int steps) {
      for (int i = 0; i < steps; ++i) {
        update(sgd, scheduler, [&] { return bowl(x) + x.pow(4).sum(); });
      }
    }
  };
  Run whole;
  whole.go(7);
  const auto bytes = saved(whole.scheduler);
  Run resumed;
  load(resumed.scheduler, bytes);
  load(resumed.sgd, saved(whole.sgd));
  load(resumed.scheduler, bytes);
  resumed.x.set_data(whole.x.detach().clone());
  EXPECT_EQ(resumed.scheduler.sharpness(), whole.scheduler.sharpness());
  whole.go(20);
  resumed.go(20);
  EXPECT_TRUE(torch::equal(resumed.x, whole.x));
  EXPECT_EQ(rate_of(resumed.sgd), rate_of(whole.sgd));
  EXPECT_EQ(resumed.scheduler.products(), whole.scheduler.products());
  EXPECT_EQ(resumed.scheduler.last_epoch(), 27);
}

TEST(CurvatureLR, RefusesAStateOfOtherParameters) {
  const auto x = leaf({1, 1, 1});
  SGD sgd({x}, SGDOptions(1));
  CurvatureLR scheduler(sgd);
  scheduler.observe(bowl(x));
  const auto y = leaf({1, 1});
  SGD other({y}, SGDOptions(0.125));
  CurvatureLR loaded(other);
  EXPECT_THAT(
      message_of([&] { load(loaded, saved(scheduler)); }),
      HasSubstr("CurvatureLR: the archive was written for other parameters"));
  EXPECT_EQ(rate_of(other), 0.125);
  EXPECT_TRUE(std::isnan(loaded.sharpness()));
}

TEST(CurvatureLR, RefusesOptionsByName) {
  const auto x = leaf({1});
  SGD sgd({x}, SGDOptions(0.125));
  const auto refusal = [&](const CurvatureLROptions& options) {
    return message_of([&] { CurvatureLR(sgd, options); });
  };
  EXPECT_THAT(
      refusal(
          CurvatureLROptions().tracker(SharpnessTrackerOptions().safety(0))),
      HasSubstr("CurvatureLR: safety must be finite and > 0, got 0"));
  EXPECT_THAT(
      refusal(CurvatureLROptions().start_products(0)),
      HasSubstr("CurvatureLR: start_products must be >= 1, got 0"));
  EXPECT_THAT(
      refusal(CurvatureLROptions().momentum_limit(MomentumLimit(7))),
      HasSubstr("CurvatureLR: momentum_limit must be"));
  EXPECT_THAT(
      refusal(CurvatureLROptions().factor(-1)),
      HasSubstr("CurvatureLR: factor"));
  EXPECT_THAT(
      refusal(CurvatureLROptions().factor({1, 2})),
      HasSubstr("CurvatureLR: factor"));
  EXPECT_THAT(
      refusal(CurvatureLROptions().seed(-1)),
      HasSubstr("CurvatureLR: seed must be >= 0, got -1"));
  CurvatureLR scheduler(sgd);
  EXPECT_THROW(scheduler.observe(x.detach().sum()), c10::Error);
  EXPECT_EQ(rate_of(sgd), 0.125);
}

}  // namespace
}  // namespace stepsize::test
