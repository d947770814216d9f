// What AutoSGD and PowerMethodSGD do alike.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/optim/auto_sgd.h>
#include <stepsize/optim/measured_sgd.h>
#include <stepsize/optim/power_method_sgd.h>
#include <torch/types.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>

#include "tests/support/error_text.h"
#include "tests/support/leaf.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;

class MeasuredOnLine : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<MeasuredSGD> optimizer() const {
    if (GetParam() == "AutoSGD") {
      return std::make_unique<AutoSGD>(
          std::vector<at::Tensor>{x}, AutoSGDOptions().momentum(0));
    }
    return std::make_unique<PowerMethodSGD>(std::vector<at::Tensor>{x});
  }

  torch::Tensor x = leaf({3});
};

TEST_P(MeasuredOnLine, TellsNormAndRateOfTheLastStep) {
  const auto sgd = optimizer();
  EXPECT_TRUE(std::isnan(sgd->last_grad_norm()));
  EXPECT_EQ(sgd->current_lr(), 0);
  sgd->step([&] { return (2 * x * x).sum(); });
  EXPECT_EQ(sgd->last_grad_norm(), 12);
  EXPECT_NEAR(x.item<double>(), 3 - 12 * sgd->current_lr(), 1e-12);
  EXPECT_THAT(
      message_of([&] { sgd->current_lr(1); }),
      HasSubstr(GetParam() + ": there is no parameter group 1"));
}

TEST_P(MeasuredOnLine, LeavesOutAndCountsWhatIsNotFinite) {
  const auto sgd = optimizer();
  const double infinity = std::numeric_limits<double>::infinity();
  sgd->step([&] { return (x * infinity).sum(); });
  sgd->step([&] { return x.sum() + infinity; });
  EXPECT_EQ(sgd->skipped_steps(), 2);
  EXPECT_EQ(x.item<double>(), 3);
}

// Flat ground is a step too, in which nothing moves.
TEST_P(MeasuredOnLine, TellsTheNormOfFlatGround) {
  const auto sgd = optimizer();
  sgd->step([&] { return (0 * x).sum(); });
  EXPECT_EQ(sgd->last_grad_norm(), 0);
  EXPECT_EQ(sgd->current_lr(), 0);
  EXPECT_EQ(sgd->skipped_steps(), 0);
  EXPECT_EQ(x.item<double>(), 3);
}

TEST_P(MeasuredOnLine, RefusesWhatHasNothingToMove) {
  const auto sgd = optimizer();
  x.set_requires_grad(false);
  EXPECT_THAT(
      message_of([&] { sgd->step([&] { return x.sum(); }); }),
      HasSubstr(GetParam() + ": no parameter requires a gradient"));
}

// Eight gradients of 1, one of 1000 and one of 1 leave a mean of
// 0.9 (0.9 + 0.1 10) + 0.1 = 1.81: one of 5 is cut to 3.62.
TEST_P(MeasuredOnLine, AnOutlierDoesNotBecomeWhatIsUsual) {
  const auto sgd = optimizer();
  const auto step = [&](double slope) {
    sgd->step([&] { return (slope * x).sum(); });
  };
  for (int i = 0; i < 8; ++i) step(1);
  step(1000);
  step(1);
  const double before = x.item<double>();
  step(5);
  EXPECT_NEAR(
      before - x.item<double>(),
      3.62 * sgd->current_lr(),
      1e-12 * sgd->current_lr());
}

INSTANTIATE_TEST_SUITE_P(
    MeasuredSGD,
    MeasuredOnLine,
    testing::Values("AutoSGD", "PowerMethodSGD"),
    [](const auto& row) { return row.param; });

}  // namespace
}  // namespace stepsize::test
