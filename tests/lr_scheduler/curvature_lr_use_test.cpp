#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/curvature_lr.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/lion.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <stepsize/schedule/ramp.h>
#include <torch/torch.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/archive_bytes.h"
#include "tests/support/bowl.h"
#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"
#include "tests/support/signum.h"

namespace stepsize::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using torch::optim::SGD;
using torch::optim::SGDOptions;

TEST(CurvatureLRUse, AFlatFirstBatchDecidesNothing) {
  const auto x = leaf({1, 1, 1});
  SGD sgd({x}, SGDOptions(0.125));
  CurvatureLR scheduler(
      sgd,
      CurvatureLROptions().tracker(
          SharpnessTrackerOptions().lr_growth(100).decay(0)));
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(scheduler.observe(bowl(x, 0)));
    scheduler.step();
    EXPECT_EQ(rate_of(sgd), 0.125);
    EXPECT_TRUE(scheduler.due());
    EXPECT_TRUE(std::isnan(scheduler.sharpness()));
  }
  EXPECT_EQ(scheduler.failed_measurements(), 0);
  EXPECT_TRUE(scheduler.observe(bowl(x)));
  EXPECT_NEAR(rate_of(sgd), 1.0 / 40, 1e-12);
  scheduler.step();
  // The cap is ten times the first rate that was measured.
  scheduler.observe(bowl(x, 1e-3));
  scheduler.step();
  EXPECT_NEAR(rate_of(sgd), 10.0 / 40, 1e-12);
}

TEST(CurvatureLRUse, FlatGroundLaterOnIsAMeasurement) {
  const auto x = leaf({1, 1, 1});
  SGD sgd({x}, SGDOptions(0.125));
  CurvatureLR scheduler(sgd);
  scheduler.observe(bowl(x));
  scheduler.step();
  EXPECT_TRUE(scheduler.observe(bowl(x, 0)));
  EXPECT_NEAR(scheduler.sharpness(), 0.99 * 40, 1e-9);
}

TEST(CurvatureLRUse, AccumulationIsObservedBeforeTheDivision) {
  const int parts = 4;
  const auto x = leaf({1, 1, 1});
  SGD sgd({x}, SGDOptions(0.125));
  CurvatureLR scheduler(sgd);
  const auto before = bowl(x).item<double>();
  for (int step = 0; step < 200; ++step) {
    sgd.zero_grad();
    for (int part = 0; part < parts; ++part) {
      const auto loss = bowl(x);
      if (part == 0) scheduler.observe(loss);
      (loss / parts).backward();
    }
    sgd.step();
    scheduler.step();
    ASSERT_NEAR(rate_of(sgd), 1.0 / 40, 1e-12);
  }
  EXPECT_LT(bowl(x).item<double>(), 1e-3 * before);
}

// The curvature rises by 50 while the rates move once in a hundred updates.
TEST(CurvatureLRUse, TheIntervalCountsObservationsToo) {
  const auto x = leaf({1, 1, 1});
  SGD sgd({x}, SGDOptions(0.125));
  CurvatureLR scheduler(sgd);
  std::vector<int> measured_at;
  for (int epoch = 0; epoch < 3; ++epoch) {
    for (int batch = 0; batch < 100; ++batch) {
      const double factor = epoch == 1 ? 50 : 1;
      if (scheduler.observe(bowl(x, factor)) && epoch < 2) {
        measured_at.push_back(100 * epoch + batch);
      }
      if (epoch == 1 && batch >= 10) {
        ASSERT_LE(rate_of(sgd), 1.0 / 2000 + 1e-12) << batch;
      }
    }
    scheduler.step();
  }
  // Intervals of 1, 2, 4, 8, and 10 from then on; from the jump anew.
  EXPECT_EQ(measured_at, std::vector<int>({0,   1,   3,   7,   15,  25,  35,
                                           45,  55,  65,  75,  85,  95,  105,
                                           106, 108, 112, 120, 130, 140, 150,
                                           160, 170, 180, 190}));
}

TEST(CurvatureLRUse, TheIntervalCountsUpdatesThatAreNotObserved) {
  const auto x = leaf({1, 1, 1});
  SGD sgd({x}, SGDOptions(0.125));
  CurvatureLR scheduler(sgd);
  std::vector<int> measured_at;
  for (int step = 0; step < 40; ++step) {
    if (scheduler.due()) {
      EXPECT_TRUE(scheduler.observe(bowl(x)));
      measured_at.push_back(step);
    }
    scheduler.step();
  }
  EXPECT_EQ(measured_at, std::vector<int>({0, 1, 3, 7, 15, 25, 35}));
}

TEST(CurvatureLRUse, TheCountOfObservationsIsSaved) {
  const auto x = leaf({1, 1, 1});
  SGD sgd({x}, SGDOptions(0.125));
  CurvatureLR whole(sgd);
  SGD other({x}, SGDOptions(0.125));
  CurvatureLR resumed(other);
  for (int i = 0; i < 10; ++i) whole.observe(bowl(x));
  load(resumed, saved(whole));
  for (int i = 0; i < 30; ++i) {
    ASSERT_EQ(whole.due(), resumed.due()) << i;
    whole.observe(bowl(x));
    resumed.observe(bowl(x));
  }
}

TEST(CurvatureLRUse, RefusesMomentumWithDampening) {
  const auto x = leaf({1, 1, 1});
  const std::vector<torch::Tensor> list{x};
  const std::string text =
      "CurvatureLR: dampening of parameter group 0 must be 0, got ";
  SGD sgd(list, SGDOptions(1).momentum(0.5).dampening(-2));
  ClippedSGD clipped(list, ClippedSGDOptions(1).momentum(0.9).dampening(0.25));
  RollbackSGD rollback(
      list, RollbackSGDOptions(1).momentum(0.5).dampening(0.5));
  EXPECT_THAT(message_of([&] { CurvatureLR{sgd}; }), HasSubstr(text + "-2"));
  EXPECT_THAT(
      message_of([&] { CurvatureLR{clipped}; }), HasSubstr(text + "0.25"));
  EXPECT_THAT(
      message_of([&] { CurvatureLR{rollback}; }), HasSubstr(text + "0.5"));
  // Also where it comes later; nothing has changed then.
  auto& options = static_cast<SGDOptions&>(sgd.param_groups()[0].options());
  options.dampening(0);
  CurvatureLR scheduler(sgd);
  options.dampening(0.5);
  EXPECT_THAT(message_of([&] { scheduler.observe(bowl(x)); }), HasSubstr(text));
  EXPECT_EQ(rate_of(sgd), 1);
  EXPECT_EQ(scheduler.products(), 0);
  options.dampening(0);
  scheduler.observe(bowl(x));
  options.dampening(0.5);
  EXPECT_THAT(message_of([&] { scheduler.step(); }), HasSubstr(text));
  EXPECT_EQ(scheduler.last_epoch(), 0);
}

TEST(CurvatureLRUse, RefusesOptimizersWhoseLimitNoHessianTells) {
  using namespace torch::optim;  // NOLINT: two optimizers
  const std::vector<torch::Tensor> x{leaf({1})};
  const auto refusal = [](Optimizer&& optimizer) {
    return message_of([&] { CurvatureLR{optimizer}; });
  };
  const auto names = [](const std::string& name, const std::string& reason) {
    return AllOf(
        HasSubstr("CurvatureLR: cannot set the rate of " + name + ": "),
        HasSubstr(reason));
  };
  EXPECT_THAT(refusal(Lion(x)), names("Lion", "takes the signs"));
  EXPECT_THAT(
      refusal(LBFGS(x)), names("torch::optim::LBFGS", "the inverse Hessian"));
  EXPECT_THAT(
      refusal(PowerMethodSGD(x)),
      names("PowerMethodSGD", "finds its rate itself"));
}

class UsersSGD : public SGD {
 public:
  using SGD::SGD;
};
class DescribedSGD : public SGD {
 public:
  using SGD::SGD;
};

TEST(CurvatureLRUse, RefusesWhatNothingIsKnownOf) {
  const std::vector<torch::Tensor> x{leaf({1, 1, 1})};
  UsersSGD unknown(x, SGDOptions(0.1));
  EXPECT_THAT(
      message_of([&] { CurvatureLR{unknown}; }),
      AllOf(
          HasSubstr("CurvatureLR: cannot set the rate of "),
          HasSubstr("UsersSGD, of which nothing says that it descends"),
          HasSubstr("docs/your_own_optimizer.md")));
  Signum signum(x);
  EXPECT_THAT(
      message_of([&] { CurvatureLR{signum}; }),
      AllOf(HasSubstr("rate of Signum: "), HasSubstr("takes the signs")));
  EXPECT_EQ(rate_of(unknown), 0.1);
}

TEST(CurvatureLRUse, TakesASubclassThatIsDescribed) {
  describe_optimizer(
      find_traits(SGDOptions(0))->as<DescribedSGD>("DescribedSGD"));
  const auto x = leaf({1, 1, 1});
  DescribedSGD own({x}, SGDOptions(0.1).momentum(0.5));
  SGD sgd({x}, SGDOptions(0.1).momentum(0.5));
  CurvatureLR scheduler(own);
  CurvatureLR reference(sgd);
  scheduler.observe(bowl(x));
  reference.observe(bowl(x));
  EXPECT_EQ(rate_of(own), rate_of(sgd));
  EXPECT_NEAR(rate_of(own), 0.5 / 40, 1e-12);
}

// Beside the bowl |y|^3, whose second derivative at 0 is 0 and computed as NaN.
torch::Tensor with_a_cusp(const torch::Tensor& x, const torch::Tensor& y) {
  return bowl(x) + y.square().sum().pow(1.5);
}

TEST(CurvatureLRUse, AProductThatIsNotFiniteIsTriedAsADifference) {
  const auto x = leaf({1, 1, 1});
  const auto y = leaf({0, 0});
  const std::vector<torch::Tensor> list{x, y};
  const auto loss_of = [&] { return with_a_cusp(x, y); };
  SGD sgd(list, SGDOptions(0.125));
  CurvatureLR scheduler(sgd);
  EXPECT_TRUE(scheduler.observe(loss_of));
  EXPECT_NEAR(scheduler.sharpness(), 40, 1e-3);
  EXPECT_NEAR(rate_of(sgd), 1.0 / 40, 1e-6);
  EXPECT_EQ(scheduler.failed_measurements(), 0);
  EXPECT_GT(scheduler.products(), 1);
  EXPECT_TRUE(torch::equal(x, leaf({1, 1, 1})));
  // Not with a loss alone, and not where exact products are asked for.
  SGD other(list, SGDOptions(0.125));
  CurvatureLR strict(other, CurvatureLROptions().method(HessianMethod::kExact));
  EXPECT_FALSE(strict.observe(loss_of));
  EXPECT_FALSE(strict.observe(loss_of()));
  EXPECT_EQ(strict.failed_measurements(), 2);
  EXPECT_EQ(rate_of(other), 0.125);
  EXPECT_TRUE(strict.due());
}

TEST(CurvatureLRUse, ALossThatIsNotFiniteFailsInAClosureToo) {
  const auto x = leaf({1, 1, 1});
  SGD sgd({x}, SGDOptions(0.125));
  CurvatureLR scheduler(sgd);
  EXPECT_FALSE(scheduler.observe([&] { return bowl(x, kNaN); }));
  EXPECT_EQ(scheduler.failed_measurements(), 1);
  EXPECT_EQ(rate_of(sgd), 0.125);
  EXPECT_TRUE(scheduler.observe([&] { return bowl(x); }));
}

// What `count` steps say on the standard error.
std::string said_in_steps(CurvatureLR& scheduler, int count) {
  testing::internal::CaptureStderr();
  for (int step = 0; step < count; ++step) scheduler.step();
  return testing::internal::GetCapturedStderr();
}

TEST(CurvatureLRUse, TheTenthStepWithoutAMeasurementWarnsOnce) {
  const auto x = leaf({1, 1, 1});
  SGD sgd({x}, SGDOptions(0.125));
  CurvatureLR scheduler(sgd, CurvatureLROptions().schedule(linear(20)));
  EXPECT_EQ(said_in_steps(scheduler, 9), "");
  EXPECT_THAT(
      said_in_steps(scheduler, 1),
      HasSubstr("CurvatureLR: no measurement in 10 steps"));
  EXPECT_EQ(said_in_steps(scheduler, 10), "");
  // The schedule has rested as well.
  EXPECT_EQ(rate_of(sgd), 0.125);
  SGD other({x}, SGDOptions(0.125));
  CurvatureLR observed(other);
  observed.observe(bowl(x));
  EXPECT_EQ(said_in_steps(observed, 20), "");
}

}  // namespace
}  // namespace stepsize::test
