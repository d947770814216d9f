#include <gtest/gtest.h>
#include <stepsize/curvature/coming_operator.h>
#include <stepsize/curvature/curvature_monitor.h>
#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/lion.h>
#include <torch/torch.h>

#include <cmath>

#include "tests/support/leaf.h"

namespace stepsize::test {
namespace {

// 2 x^2 + y^2 / 2 at (3, 4), whose gradient is (12, 4).
struct ClippedBowl {
  at::Tensor w = leaf({3, 4});
  at::Tensor loss() const {
    return (torch::tensor({2.0, 0.5}, torch::kDouble) * w * w).sum();
  }
};

// A gradient that is clipped to a norm of 1 is 1 / |(12, 4)| of itself, and so
// is the Hessian that the update meets; the decay is not clipped.
TEST(ComingOperator, HasTheFactorOfClipping) {
  const ClippedBowl bowl;
  ClippedSGD sgd({bowl.w}, ClippedSGDOptions(0.1).max_norm(1).weight_decay(3));
  const auto hessian = hessian_operator(bowl.loss(), {bowl.w});
  const auto unit = torch::tensor({1.0, 0.0}, torch::kDouble);
  const auto entry = [&](const TensorVector& gradients) {
    return coming_operator(hessian, sgd, gradients)
        .op.apply({unit})[0][0]
        .item<double>();
  };
  EXPECT_NEAR(entry(hessian.used_gradient()), 4 / std::sqrt(160.0) + 3, 1e-6);
  EXPECT_NEAR(entry({}), 4 + 3, 1e-12);
  static_cast<ClippedSGDOptions&>(sgd.param_groups()[0].options())
      .max_norm(100);
  EXPECT_NEAR(entry(hessian.used_gradient()), 4 + 3, 1e-12);
}

TEST(ComingOperator, IsNoneOfWhatClimbsOrTakesSigns) {
  const ClippedBowl bowl;
  const ClippedSGD climbs({bowl.w}, ClippedSGDOptions(0.1).maximize(true));
  EXPECT_FALSE(has_coming_operator(climbs));
  const Lion lion({bowl.w});
  EXPECT_FALSE(has_coming_operator(lion));
}

TEST(CurvatureMonitor, SeesWhatIsClipped) {
  const ClippedBowl bowl;
  ClippedSGD sgd({bowl.w}, ClippedSGDOptions(0.1).max_norm(1).weight_decay(3));
  CurvatureMonitor monitor(
      sgd,
      CurvatureMonitorOptions().meter(
          CurvatureMeterOptions().start_products(300)));
  const auto* row = monitor.step(0.1, [&] { return bowl.loss(); });
  EXPECT_NEAR(row->sharpness, 4, 1e-6);
  EXPECT_NEAR(row->effective_sharpness, 4 / std::sqrt(160.0) + 3, 1e-6);
}

}  // namespace
}  // namespace stepsize::test
