// What Schedule-Free optimizers do where several ranks train one model.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/adaptive/schedule_free_adamw.h>
#include <stepsize/distributed/reduction.h>
#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/error_text.h"
#include "tests/support/rank_problem.h"
#include "tests/support/ranks.h"

namespace stepsize::test {
namespace {

// At the mean of a run on this rank's share of the examples; no ranks: on all.
torch::Tensor free_ranks_run(const std::shared_ptr<Reduction>& ranks) {
  RankProblem problem;
  ScheduleFreeAdamW optimizer(
      problem.parameters(), ScheduleFreeAdamWOptions(0.05).warmup_steps(5));
  optimizer.set_reduction(ranks);
  const int64_t first = ranks == nullptr ? 0 : 4 * ranks->rank();
  const int64_t count = ranks == nullptr ? 8 : 4;
  for (int t = 0; t < 30; ++t) {
    optimizer.step([&] { return problem.loss_and_gradients(first, count); });
  }
  optimizer.eval();
  std::vector<torch::Tensor> all;
  for (const auto& parameter : problem.parameters()) {
    all.push_back(parameter.detach().reshape({-1}));
  }
  return torch::cat(all);
}

TEST(ScheduleFreeRanks, TrainAsOneDoes) {
  const auto one = free_ranks_run(nullptr);
  std::vector<torch::Tensor> points(2);
  run_ranks(2, [&](const std::shared_ptr<Reduction>& ranks) {
    points[static_cast<std::size_t>(ranks->rank())] = free_ranks_run(ranks);
  });
  EXPECT_TRUE(torch::equal(points[0], points[1]));
  EXPECT_TRUE(torch::allclose(points[0], one, 1e-9, 1e-12));
}

TEST(ScheduleFreeRanks, AllHearOfOneInEvalMode) {
  run_ranks(2, [&](const std::shared_ptr<Reduction>& ranks) {
    RankProblem problem;
    ScheduleFreeAdamW optimizer(problem.parameters());
    optimizer.set_reduction(ranks);
    const auto before = problem.parameters()[0].detach().clone();
    const bool is_late = ranks->rank() == 1;
    if (is_late) optimizer.eval();
    EXPECT_THAT(
        message_of([&] {
          optimizer.step([&] { return problem.loss_and_gradients(0, 8); });
        }),
        testing::HasSubstr("eval mode"));
    EXPECT_TRUE(torch::equal(problem.parameters()[0], before));
    optimizer.train();
    optimizer.step([&] { return problem.loss_and_gradients(0, 8); });
    EXPECT_FALSE(torch::equal(problem.parameters()[0], before));
  });
}

}  // namespace
}  // namespace stepsize::test
