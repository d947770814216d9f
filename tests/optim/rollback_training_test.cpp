#include <gtest/gtest.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/torch.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "tests/optim/rollback_runs.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

constexpr int kShortSteps = 600;
// The rate recovers in 200 steps by 2.
constexpr int kLongSteps = 1000;

struct Outcome {
  double loss;
  int64_t rollbacks;
};

Outcome with_sgd(DigitsRun run, double rate, int steps = kShortSteps) {
  torch::optim::SGD sgd(run.parameters(), rate);
  return {run.train(steps, [&](const auto& closure) { sgd.step(closure); }), 0};
}

Outcome with_rollback(
    DigitsRun run,
    double rate,
    bool gives_closure = true,
    int steps = kShortSteps) {
  RollbackSGD sgd(run.parameters(), RollbackSGDOptions(rate));
  const double loss = run.train(steps, [&](const auto& closure) {
    if (gives_closure) {
      sgd.step(closure);
    } else {
      closure();
      sgd.step();
    }
  });
  return {loss, sgd.rollbacks()};
}

TEST(RollbackSGDOnDigits, ARateFarTooLargeEndsNearTheBestConstantOne) {
  for (const int64_t batch : {int64_t{512}, DigitsRun::kCount}) {
    double best = std::numeric_limits<double>::infinity();
    double best_rate = 0;
    for (const double rate : {1.0, 3.0, 10.0}) {
      const double loss = with_sgd(DigitsRun(batch), rate, kLongSteps).loss;
      if (loss < best) {
        best = loss;
        best_rate = rate;
      }
    }
    for (const double times : {10.0, 100.0}) {
      const auto outcome =
          with_rollback(DigitsRun(batch), times * best_rate, true, kLongSteps);
      EXPECT_LE(outcome.loss, 2 * best) << batch << ", " << times;
      EXPECT_GT(outcome.rollbacks, 0);
    }
    // Plain SGD does not come near.
    EXPECT_GT(with_sgd(DigitsRun(batch), 100 * best_rate).loss, 20 * best);
  }
}

TEST(RollbackSGDOnDigits, AGoodRateIsLeftAlone) {
  for (const int64_t batch : {8, 32, 128, 512}) {
    const double plain = with_sgd(DigitsRun(batch), 0.1).loss;
    for (const bool closure : {true, false}) {
      const auto outcome = with_rollback(DigitsRun(batch), 0.1, closure);
      EXPECT_EQ(outcome.rollbacks, 0) << batch << ", closure " << closure;
      EXPECT_NEAR(outcome.loss, plain, 0.05 * plain) << batch;
    }
  }
}

TEST(RollbackSGDOnDigits, TheSeedRuleDestroysTrainingOnMiniBatches) {
  DigitsRun run(8);
  RollbackSGD sgd(
      run.parameters(),
      RollbackSGDOptions(0.1).rollback(RollbackOptions::every_step()));
  const double loss =
      run.train(kShortSteps, [&](const auto& closure) { sgd.step(closure); });
  EXPECT_LT(sgd.rate_scale(), 1e-6);
  EXPECT_GT(loss, 2 * with_sgd(DigitsRun(8), 0.1).loss);
}

TEST(RollbackSGDOnDigits, APoisonedMiniBatchCostsOneRollbackAtMost) {
  const double plain = with_sgd(DigitsRun(32), 0.1).loss;
  const auto times_100 = with_rollback(DigitsRun(32).poison(300, 100), 0.1);
  EXPECT_EQ(times_100.rollbacks, 1);
  EXPECT_LE(times_100.loss, 1.25 * plain);
  // The mini-batch is found to be at fault, not the step.
  const auto nan = with_rollback(DigitsRun(32).poison(300, kNaN), 0.1);
  EXPECT_EQ(nan.rollbacks, 0);
  EXPECT_LE(nan.loss, 1.05 * plain);
  const auto blind = with_rollback(DigitsRun(32).poison(300, kNaN), 0.1, false);
  EXPECT_EQ(blind.rollbacks, 1);
  EXPECT_LE(blind.loss, 1.25 * plain);
}

// Least squares with noise: a quadratic whose optimum is above 0.
TEST(RollbackSGDOnLeastSquares, ARateFarTooLargeEndsNearTheBestConstantOne) {
  torch::manual_seed(5);
  const auto scale = torch::logspace(0, 0.5, 10, 10, torch::kFloat64);
  const auto inputs = torch::randn({512, 10}, torch::kFloat64) * scale;
  const auto targets = inputs.sum(1) + torch::randn({512}, torch::kFloat64);
  const auto loss_of = [&](const torch::Tensor& w, int64_t from, int64_t to) {
    return torch::mse_loss(
        inputs.slice(0, from, to).mv(w), targets.slice(0, from, to));
  };
  const auto train = [&](torch::optim::Optimizer& optimizer, int64_t batch) {
    auto& w = optimizer.param_groups()[0].params()[0];
    for (int64_t step = 0; step < 640; ++step) {
      const int64_t from = (step * batch) % 512;
      optimizer.step([&] {
        optimizer.zero_grad();
        auto loss = loss_of(w, from, from + batch);
        loss.backward();
        return loss;
      });
    }
    const double loss = loss_of(w.detach(), 0, 512).item<double>();
    return std::isfinite(loss) ? loss : 1e300;
  };
  const auto start = [] {
    return std::vector<torch::Tensor>{
        torch::zeros({10}, torch::kFloat64).requires_grad_(true)};
  };
  for (const int64_t batch : {32, 512}) {
    double best = 1e300;
    double best_rate = 0;
    for (const double rate : {0.001, 0.003, 0.01, 0.03, 0.1}) {
      torch::optim::SGD sgd(start(), rate);
      const double loss = train(sgd, batch);
      if (loss < best) {
        best = loss;
        best_rate = rate;
      }
    }
    for (const double times : {10.0, 100.0}) {
      RollbackSGD sgd(start(), RollbackSGDOptions(times * best_rate));
      EXPECT_LE(train(sgd, batch), 2 * best) << batch << ", " << times;
    }
    torch::optim::SGD plain(start(), 100 * best_rate);
    EXPECT_GT(train(plain, batch), 1e10 * best);
  }
}

}  // namespace
}  // namespace stepsize::test
