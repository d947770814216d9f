#include <gtest/gtest.h>
#include <stepsize/curvature/curvature_status.h>
#include <stepsize/curvature/max_stable_lr.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>

#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

TEST(MaxStableLR, HasItsClosedForms) {
  EXPECT_DOUBLE_EQ(max_stable_lr(4), 0.5);
  EXPECT_DOUBLE_EQ(max_stable_lr(4, 0.9), 3.8 / 4);
  EXPECT_DOUBLE_EQ(max_stable_lr(4, 0.9, true), 3.8 / (2.8 * 4));
  EXPECT_DOUBLE_EQ(max_stable_lr(4, 0, true), 0.5);
}

TEST(MaxStableLR, ByTheEffectiveRateMomentumIsPaidFor) {
  for (const bool nesterov : {false, true}) {
    for (const double momentum : {0.0, 0.5, 0.9}) {
      const double lr =
          max_stable_lr(4, momentum, nesterov, MomentumLimit::kEffectiveRate);
      EXPECT_DOUBLE_EQ(lr / (1 - momentum), 0.5);
      EXPECT_LE(lr, max_stable_lr(4, momentum, nesterov));
    }
  }
  EXPECT_THROW(
      max_stable_lr(4, 0.9, false, static_cast<MomentumLimit>(7)), c10::Error);
}

// |x| after 20000 steps of LibTorch's own SGD on lambda x^2 / 2, from x = 1.
double end_of_run(double lambda, double share, double momentum, bool nesterov) {
  const torch::Tensor x = torch::ones({1}, torch::kDouble).requires_grad_();
  const double lr = share * max_stable_lr(lambda, momentum, nesterov);
  torch::optim::SGD optimizer(
      {x}, torch::optim::SGDOptions(lr).momentum(momentum).nesterov(nesterov));
  for (int step = 0; step < 20000; ++step) {
    x.mutable_grad() = lambda * x.detach();
    optimizer.step();
  }
  return std::abs(x.item<double>());
}

TEST(MaxStableLR, IsTheEdgeOfSGD) {
  for (const double momentum : {0.0, 0.5, 0.9}) {
    for (const bool nesterov : {false, true}) {
      if (nesterov && momentum == 0) continue;
      EXPECT_LT(end_of_run(3, 0.999, momentum, nesterov), 0.1) << momentum;
      EXPECT_GT(end_of_run(3, 1.001, momentum, nesterov), 10) << momentum;
    }
  }
}

TEST(MaxStableLR, AFlatDirectionSetsNoLimit) {
  EXPECT_EQ(max_stable_lr(0), kInfinity);
  EXPECT_EQ(max_stable_lr(0, 0.9, true), kInfinity);
}

TEST(MaxStableLR, RefusesWhatIsNoCurvatureOrMomentum) {
  EXPECT_THROW(max_stable_lr(-1), c10::Error);
  EXPECT_THROW(max_stable_lr(std::nan("")), c10::Error);
  EXPECT_THROW(max_stable_lr(kInfinity), c10::Error);
  EXPECT_THROW(max_stable_lr(1, 1), c10::Error);
  EXPECT_THROW(max_stable_lr(1, -0.1), c10::Error);
  EXPECT_THROW(max_stable_lr(1, std::nan("")), c10::Error);
}

TEST(CurvatureStatus, ReadsAsWords) {
  EXPECT_STREQ(to_string(CurvatureStatus::kConverged), "converged");
  EXPECT_STREQ(to_string(CurvatureStatus::kMaxIterations), "max iterations");
  EXPECT_STREQ(
      to_string(CurvatureStatus::kInvariantSubspace), "invariant subspace");
  EXPECT_STREQ(to_string(CurvatureStatus::kZeroOperator), "zero operator");
  EXPECT_STREQ(to_string(CurvatureStatus::kNotFinite), "not finite");
}

}  // namespace
}  // namespace stepsize::test
