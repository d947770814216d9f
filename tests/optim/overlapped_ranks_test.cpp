// Optimizers whose gradients travel while others are computed.

#include <gtest/gtest.h>
#include <stepsize/distributed/overlapped_reduction.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/grad_scaler.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/types.h>

#include <functional>
#include <memory>
#include <vector>

#include "tests/support/numbers.h"
#include "tests/support/rank_problem.h"
#include "tests/support/ranks.h"

namespace stepsize {
namespace {

using Tensors = std::vector<torch::Tensor>;
using RankOptimizer = std::function<std::unique_ptr<IndexedOptimizer>(Tensors)>;

// The weights after a run in float32 on each of two ranks.
Tensors trained_weights(const RankOptimizer& made, bool overlaps) {
  // By one thread, as all share the random state.
  torch::manual_seed(7);
  const Tensors values{
      torch::randn({6, 9}), torch::randn({9}), torch::randn({9, 3})};
  const auto rows = torch::randn({2, 8, 5, 6});
  return test::on_ranks<torch::Tensor>(2, [&](const auto& ranks) {
    Tensors own;
    for (const auto& value : values) {
      own.push_back(value.clone().set_requires_grad(true));
    }
    const auto optimizer = made(own);
    std::shared_ptr<OverlappedReduction> overlapped;
    if (overlaps) {
      overlapped = std::make_shared<OverlappedReduction>(
          ranks, own, OverlappedReductionOptions().bucket_bytes(1));
      optimizer->set_reduction(overlapped);
    } else {
      optimizer->set_reduction(ranks);
    }
    for (int64_t step = 0; step < 8; ++step) {
      optimizer->step([&] {
        optimizer->zero_grad();
        auto loss = torch::tanh(rows[ranks->rank()][step].mm(own[0]) + own[1])
                        .mm(own[2])
                        .square()
                        .mean();
        loss.backward();
        return loss;
      });
    }
    if (overlaps) {
      // In each of the evaluations, of which there are 8 or more.
      EXPECT_GE(overlapped->sent_early(), 24);
      EXPECT_EQ(overlapped->sent_again(), 0);
    }
    return torch::cat(
        {own[0].detach().flatten(),
         own[1].detach(),
         own[2].detach().flatten()});
  });
}

void expect_the_same_run(const RankOptimizer& made) {
  const Tensors expected = trained_weights(made, false);
  const Tensors found = trained_weights(made, true);
  EXPECT_TRUE(found[0].equal(expected[0]));
  EXPECT_TRUE(found[1].equal(expected[0]));
}

TEST(OverlappedRanks, ClippedSGDStepsToTheSameBits) {
  expect_the_same_run([](const Tensors& own) {
    return std::make_unique<ClippedSGD>(
        own, ClippedSGDOptions(0.3).momentum(0.9).max_norm(0.1));
  });
}

TEST(OverlappedRanks, RollbackSGDStepsToTheSameBits) {
  expect_the_same_run([](const Tensors& own) {
    return std::make_unique<RollbackSGD>(own, RollbackSGDOptions(0.3));
  });
}

// Eight updates by a scaler, of which the fifth overflows on rank 1.
torch::Tensor scaled_point(
    const std::shared_ptr<Reduction>& ranks, bool overlaps) {
  test::RankProblem problem;
  ClippedSGD sgd(
      problem.parameters(), ClippedSGDOptions(0.1).momentum(0.9).max_norm(0.5));
  std::shared_ptr<OverlappedReduction> overlapped;
  if (overlaps) {
    overlapped =
        std::make_shared<OverlappedReduction>(ranks, problem.parameters());
    sgd.set_reduction(overlapped);
  } else {
    sgd.set_reduction(ranks);
  }
  GradScaler scaler(GradScalerOptions().init_scale(64).growth_interval(4));
  for (int i = 0; i < 8; ++i) {
    scaler.step(sgd, [&] {
      problem.clear_gradients();
      auto own = problem.loss(4 * ranks->rank(), 4);
      const bool overflows = i == 4 && ranks->rank() == 1;
      scaler.scale(own * (overflows ? test::kNaN : 1)).backward();
      return own;
    });
    scaler.update();
  }
  EXPECT_EQ(scaler.skipped_steps(), 1);
  if (overlaps) {
    EXPECT_GT(overlapped->sent_early(), 0);
  }
  return problem.point();
}

TEST(OverlappedRanks, GradScalerStepsToTheSameBits) {
  const auto points_of = [](bool overlaps) {
    return test::on_ranks<torch::Tensor>(
        2, [&](const auto& ranks) { return scaled_point(ranks, overlaps); });
  };
  const Tensors expected = points_of(false);
  const Tensors found = points_of(true);
  EXPECT_TRUE(found[0].equal(expected[0]));
  EXPECT_TRUE(found[1].equal(expected[0]));
}

}  // namespace
}  // namespace stepsize
