#include <gtest/gtest.h>
#include <stepsize/adaptive/sam.h>
#include <stepsize/optim/clipped_sgd.h>
#include <torch/torch.h>

#include <functional>
#include <memory>
#include <stdexcept>

#include "tests/support/rank_problem.h"
#include "tests/support/ranks.h"

namespace stepsize::test {
namespace {

using SAMRanks = std::shared_ptr<Reduction>;

torch::Tensor sam_loss(RankProblem& problem, const SAMRanks& ranks) {
  const int64_t share = ranks == nullptr ? 8 : 8 / ranks->world_size();
  const int64_t first = ranks == nullptr ? 0 : share * ranks->rank();
  return problem.loss_and_gradients(first, share);
}

// Where the reduction is given: to SAM, or to the optimizer.
void expect_sam_like_one(bool to_optimizer) {
  const auto train = [to_optimizer](const SAMRanks& ranks) {
    RankProblem problem;
    ClippedSGD sgd(
        problem.parameters(),
        ClippedSGDOptions(0.1).momentum(0.5).max_norm(1e6));
    SAM sam(sgd, SAMOptions(0.1));
    if (to_optimizer) {
      sgd.set_reduction(ranks);
    } else {
      sam.set_reduction(ranks);
    }
    for (int step = 0; step < 20; ++step) {
      sam.step([&] { return sam_loss(problem, ranks); });
    }
    return problem.point();
  };
  const auto one = train(nullptr);
  const auto two = on_ranks<torch::Tensor>(2, train);
  EXPECT_TRUE(torch::equal(two[0], two[1]));
  EXPECT_LT((two[0] - one).abs().max().item<double>(), 1e-9);
}

TEST(SAMOnRanks, StepsAsOneByItsOwnReduction) { expect_sam_like_one(false); }

TEST(SAMOnRanks, StepsAsOneByThatOfTheOptimizer) { expect_sam_like_one(true); }

TEST(SAMOnRanks, PutsBackOnAllWhereOneThrows) {
  const auto kept = on_ranks<bool>(2, [](const SAMRanks& ranks) {
    RankProblem problem;
    torch::optim::SGD sgd(problem.parameters(), 0.1);
    SAM sam(sgd, SAMOptions(0.1));
    sam.set_reduction(ranks);
    const auto before = problem.point();
    int calls = 0;
    EXPECT_ANY_THROW(sam.step([&] {
      if (++calls == 2 && ranks->rank() == 1) {
        throw std::runtime_error("no data");
      }
      return sam_loss(problem, ranks);
    }));
    return torch::equal(problem.point(), before);
  });
  EXPECT_TRUE(kept[0]);
  EXPECT_TRUE(kept[1]);
}

}  // namespace
}  // namespace stepsize::test
