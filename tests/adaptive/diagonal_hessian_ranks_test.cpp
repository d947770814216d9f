// AdaHessian and SophiaH where several ranks train one model.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/adaptive/ada_hessian.h>
#include <stepsize/adaptive/sophia_h.h>
#include <stepsize/distributed/reduction.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/error_text.h"
#include "tests/support/rank_problem.h"
#include "tests/support/ranks.h"

namespace stepsize::test {
namespace {

template <typename Optimizer, typename Options>
torch::Tensor diagonal_run(
    Options options, const std::shared_ptr<Reduction>& ranks) {
  RankProblem problem;
  // Rank 0's counts.
  if (ranks != nullptr && ranks->rank() == 1) options.seed(99);
  Optimizer optimizer(problem.parameters(), options);
  optimizer.set_reduction(ranks);
  const int64_t share = ranks == nullptr ? 8 : 8 / ranks->world_size();
  const int64_t first = ranks == nullptr ? 0 : share * ranks->rank();
  for (int step = 0; step < 20; ++step) {
    optimizer.step([&] { return problem.loss(first, share); });
  }
  return problem.point();
}

template <typename Optimizer, typename Options>
void expect_two_estimate_like_one(const Options& options) {
  const torch::Tensor one = diagonal_run<Optimizer>(options, nullptr);
  const std::vector<torch::Tensor> two =
      on_ranks<torch::Tensor>(2, [&](const std::shared_ptr<Reduction>& ranks) {
        return diagonal_run<Optimizer>(options, ranks);
      });
  EXPECT_TRUE(two[0].equal(two[1]));
  EXPECT_LT((two[0] - one).abs().max().item<double>(), 1e-9);
  EXPECT_GT((RankProblem().point() - one).abs().max().item<double>(), 0.05);
}

TEST(AdaHessianOnRanks, StepsAsOneWithAllExamples) {
  expect_two_estimate_like_one<AdaHessian>(
      AdaHessianOptions(0.02).eps(0.1).interval(3));
}

TEST(SophiaHOnRanks, StepsAsOneWithAllExamples) {
  expect_two_estimate_like_one<SophiaH>(
      SophiaHOptions(0.01).gamma(1).eps(0.1).interval(3));
}

TEST(AdaHessianOnRanks, AllThrowWhereOneDoes) {
  run_ranks(2, [&](const std::shared_ptr<Reduction>& ranks) {
    RankProblem problem;
    AdaHessian optimizer(problem.parameters());
    optimizer.set_reduction(ranks);
    const torch::Tensor before = problem.point();
    EXPECT_THROW(
        optimizer.step([&]() -> torch::Tensor {
          if (ranks->rank() == 1) throw std::runtime_error("no data");
          return problem.loss(0, 4);
        }),
        std::exception);
    EXPECT_TRUE(before.equal(problem.point()));
    EXPECT_EQ(optimizer.products(), 0);
    optimizer.step([&] { return problem.loss(0, 4); });
    EXPECT_EQ(optimizer.products(), 1);
  });
}

}  // namespace
}  // namespace stepsize::test
