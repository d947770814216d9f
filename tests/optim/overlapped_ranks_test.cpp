// Optimizers whose gradients travel while others are computed.

#include <gtest/gtest.h>
#include <stepsize/distributed/overlapped_reduction.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/types.h>

#include <functional>
#include <memory>
#include <vector>

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

}  // namespace
}  // namespace stepsize
