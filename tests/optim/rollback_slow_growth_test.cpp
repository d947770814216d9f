#include <gtest/gtest.h>
#include <stepsize/optim/gradient_norm_rollback.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/optim/rollback_runs.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

// sum of lambda_i x_i^2 / 2 + offset, lambda from 1 down to 1 / condition. Its
// gradient is written by hand, so that many steps take little time.
class Quadratic {
 public:
  explicit Quadratic(double condition, double offset = 0)
      : curvature_(
            torch::logspace(0, -std::log10(condition), 4, 10, torch::kFloat64)),
        offset_(offset),
        x_(torch::ones({4}, torch::kFloat64).requires_grad_(true)) {}

  torch::Tensor x() const { return x_; }
  torch::Tensor closure() {
    const torch::NoGradGuard no_grad;
    const auto gradient = curvature_ * x_;
    x_.mutable_grad() = gradient;
    return (gradient * x_).sum() / 2 + offset_;
  }
  double excess() { return closure().item<double>() - offset_; }

 private:
  torch::Tensor curvature_;
  double offset_;
  torch::Tensor x_;
};

struct Descent {
  double first = 0;
  double highest = 0;
  int64_t rollbacks = 0;
  int64_t first_rollback = 0;
};

Descent descend(
    Quadratic& problem,
    const RollbackSGDOptions& options,
    int64_t steps,
    bool gives_closure = true) {
  RollbackSGD sgd({problem.x()}, options);
  Descent descent;
  for (int64_t step = 0; step < steps; ++step) {
    const double loss = problem.excess();
    if (step == 0) descent.first = loss;
    descent.highest = std::max(descent.highest, loss);
    if (gives_closure) {
      sgd.step([&] { return problem.closure(); });
    } else {
      sgd.step();
    }
    if (descent.rollbacks == 0 && sgd.rollbacks() > 0) {
      descent.first_rollback = step;
    }
    descent.rollbacks = sgd.rollbacks();
  }
  return descent;
}

// The largest stable rate times the largest curvature.
double limit_of(double momentum, bool nesterov) {
  return (2 + 2 * momentum) / (nesterov ? 1 + 2 * momentum : 1);
}

// docs/optimizers.md: by the time that it shows the norm has grown by at most
// 3^(26 / 11), so the loss by 180, or by the ten windows of the quick rule.
constexpr double kMostGrowth = 180;

TEST(RollbackOfSlowGrowth, IsMadeAtEverySpeed) {
  for (const double condition : {1.0, 10.0, 1000.0}) {
    for (const double over : {1.0005, 1.001, 1.0025, 1.005, 1.01, 1.02}) {
      Quadratic problem(condition);
      const auto descent = descend(problem, {2 * over}, 4000);
      EXPECT_GT(descent.rollbacks, 0) << condition << ", " << over;
      EXPECT_LT(descent.highest, kMostGrowth * descent.first)
          << condition << ", " << over;
      // |1 - lr lambda| = 2 over - 1 and two windows more than it takes.
      const double steps =
          14 * std::max(4.0, 2 * std::log(3.0) / (11 * std::log(2 * over - 1)));
      EXPECT_LT(static_cast<double>(descent.first_rollback), steps);
    }
  }
}

TEST(RollbackOfSlowGrowth, IsMadeWithNesterovsMomentum) {
  for (const double over : {1.001, 1.0025, 1.005}) {
    Quadratic problem(10);
    const double rate = over * limit_of(0.9, true);
    const auto descent = descend(
        problem, RollbackSGDOptions(rate).momentum(0.9).nesterov(true), 3000);
    EXPECT_GT(descent.rollbacks, 0) << over;
    EXPECT_LT(descent.highest, kMostGrowth * descent.first) << over;
  }
}

TEST(RollbackOfSlowGrowth, DoesNotDependOnAConstantInTheLoss) {
  for (const double offset : {0.5, -100.0}) {
    Quadratic problem(10, offset);
    const auto descent = descend(problem, {2.01}, 3000);
    EXPECT_GT(descent.rollbacks, 0) << offset;
    EXPECT_LT(descent.highest, kMostGrowth * descent.first) << offset;
  }
}

TEST(RollbackOfSlowGrowth, WantsMoreOfItWhereThereIsNoClosure) {
  Quadratic problem(10);
  const auto descent = descend(problem, {2.01}, 3000, false);
  EXPECT_GT(descent.rollbacks, 0);
  EXPECT_GT(descent.highest, 30 * 30 * descent.first / 2);
  // 30^(26 / 11), squared.
  EXPECT_LT(descent.highest, 1e7 * descent.first);
}

TEST(RollbackOfSlowGrowth, IsNotMadeAtStableRatesNorWhereItIsTurnedOff) {
  for (const double condition : {1.0, 10.0, 1000.0}) {
    for (const double rate : {0.5, 1.9, 1.99, 1.999, 1.9999, 2.0}) {
      Quadratic problem(condition);
      EXPECT_EQ(descend(problem, {rate}, 4000).rollbacks, 0) << rate;
    }
  }
  Quadratic problem(10);
  const auto off = RollbackOptions().slow_ratio(kInfinity);
  EXPECT_EQ(
      descend(problem, RollbackSGDOptions(2.01).rollback(off), 600).rollbacks,
      0);
}

TEST(RollbackOfSlowGrowth, IsMadeByTheGuardOfAnotherOptimizer) {
  Quadratic problem(10);
  torch::optim::SGD sgd({problem.x()}, 2.01);
  GradientNormRollback guard(sgd);
  const double first = problem.excess();
  for (int step = 0; step < 600; ++step) {
    guard.step([&] { return problem.closure(); });
    ASSERT_LT(problem.excess(), kMostGrowth * first) << step;
  }
  EXPECT_GT(guard.rollbacks(), 0);
}

// The wait for a recovery becomes as long as the growth took to show.
TEST(RollbackOfSlowGrowth, IsFollowedByAWaitThatFits) {
  Quadratic problem(1);
  RollbackSGD sgd({problem.x()}, RollbackSGDOptions(2.002));
  int64_t step = 0;
  const auto advance = [&] {
    sgd.step([&] { return problem.closure(); });
    ++step;
  };
  while (sgd.rollbacks() == 0 && step < 2000) advance();
  ASSERT_EQ(sgd.rollbacks(), 1);
  const int64_t shown = step;
  while (sgd.rate_scale() < 1 && step < 5000) advance();
  // 64 * 12 steps; the next 200 * 2^k is 800.
  EXPECT_EQ(step - shown, 800);
}

TEST(RollbackOfSlowGrowth, GoesOnBitForBitAfterALoad) {
  // The growth shows at step 384, and is taken back in the next.
  for (const int64_t at : {1, 150, 383, 384, 385}) {
    Quadratic problem(1);
    RollbackSGD sgd({problem.x()}, RollbackSGDOptions(2.005));
    for (int64_t step = 0; step < at; ++step) {
      sgd.step([&] { return problem.closure(); });
    }
    std::stringstream file;
    torch::save(sgd, file);
    Quadratic other(1);
    {
      const torch::NoGradGuard no_grad;
      other.x().copy_(problem.x());
    }
    RollbackSGD resumed({other.x()}, RollbackSGDOptions(2.005));
    torch::load(resumed, file);
    for (int64_t step = at; step < 420; ++step) {
      sgd.step([&] { return problem.closure(); });
      resumed.step([&] { return other.closure(); });
      ASSERT_TRUE(torch::equal(problem.x(), other.x())) << at << ", " << step;
    }
    EXPECT_EQ(sgd.rollbacks(), 1) << at;
    EXPECT_EQ(resumed.rollbacks(), 1) << at;
  }
}

// Version 0.1 wrote neither the option nor the trend.
TEST(RollbackOfSlowGrowth, AnArchiveWithoutItLeavesTheOptionAsItIs) {
  const RollbackSGDOptions off =
      RollbackSGDOptions(0.1).rollback(RollbackOptions().slow_ratio(kInfinity));
  torch::serialize::OutputArchive full;
  off.serialize(full);
  std::stringstream file;
  full.save_to(file);
  torch::serialize::InputArchive saved;
  saved.load_from(file);
  torch::serialize::OutputArchive old;
  for (const std::string& key : saved.keys()) {
    if (key == "slow_ratio") continue;
    torch::IValue value;
    saved.read(key, value);
    old.write(key, value);
  }
  std::stringstream old_file;
  old.save_to(old_file);
  torch::serialize::InputArchive old_saved;
  old_saved.load_from(old_file);
  RollbackSGDOptions read = off;
  read.serialize(old_saved);
  EXPECT_EQ(read.rollback().slow_ratio(), kInfinity);
  RollbackSGDOptions preset(0.2);
  preset.serialize(old_saved);
  EXPECT_EQ(preset.rollback().slow_ratio(), RollbackOptions().slow_ratio());
  EXPECT_EQ(preset.lr(), 0.1);
}

}  // namespace
}  // namespace stepsize::test
