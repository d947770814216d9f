// LARS and LAMB where several ranks train one model.

#include <gtest/gtest.h>
#include <stepsize/adaptive/lamb.h>
#include <stepsize/adaptive/lars.h>
#include <stepsize/distributed/reduction.h>

#include <memory>
#include <vector>

#include "tests/support/rank_problem.h"
#include "tests/support/ranks.h"

namespace stepsize::test {
namespace {

template <typename Optimizer, typename Options>
torch::Tensor layerwise_run(
    const Options& options, const std::shared_ptr<Reduction>& ranks) {
  RankProblem problem;
  Optimizer optimizer(problem.parameters(), options);
  optimizer.set_reduction(ranks);
  const int64_t share = ranks == nullptr ? 8 : 8 / ranks->world_size();
  const int64_t first = ranks == nullptr ? 0 : share * ranks->rank();
  for (int step = 0; step < 20; ++step) {
    optimizer.step([&] { return problem.loss_and_gradients(first, share); });
  }
  return problem.point();
}

template <typename Optimizer, typename Options>
void expect_two_like_one(const Options& options) {
  const torch::Tensor one = layerwise_run<Optimizer>(options, nullptr);
  const std::vector<torch::Tensor> two =
      on_ranks<torch::Tensor>(2, [&](const std::shared_ptr<Reduction>& ranks) {
        return layerwise_run<Optimizer>(options, ranks);
      });
  EXPECT_TRUE(two[0].equal(two[1]));
  EXPECT_LT((two[0] - one).abs().max().item<double>(), 1e-9);
  EXPECT_GT((RankProblem().point() - one).abs().max().item<double>(), 0.1);
}

TEST(LARSOnRanks, StepsAsOneWithAllExamples) {
  expect_two_like_one<LARS>(
      LARSOptions(1).trust_coefficient(0.01).weight_decay(0.01));
}

TEST(LAMBOnRanks, StepsAsOneWithAllExamples) {
  expect_two_like_one<LAMB>(LAMBOptions(0.02).weight_decay(0.01));
}

}  // namespace
}  // namespace stepsize::test
