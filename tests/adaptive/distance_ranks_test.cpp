// Estimates of a distance where several ranks train one model.

#include <gtest/gtest.h>
#include <stepsize/adaptive/dadapt_adam.h>
#include <stepsize/adaptive/prodigy.h>
#include <torch/types.h>

#include <memory>
#include <utility>
#include <vector>

#include "tests/adaptive/fused_checks.h"
#include "tests/support/leaf.h"
#include "tests/support/ranks.h"

namespace stepsize::test {
namespace {

using RankEnd = std::pair<double, std::vector<double>>;

// Gradients of two ranks that have the mean of the run without ranks.
template <typename Optimizer, typename Options>
void expect_ranks_estimate_alike(const Options& options) {
  const auto run = [&](const std::shared_ptr<Reduction>& ranks) {
    auto x = leaf({0, 0});
    Optimizer optimizer({x}, options);
    optimizer.set_reduction(ranks);
    const double own =
        ranks == nullptr ? 0 : static_cast<double>(2 * ranks->rank() - 1);
    for (int step = 0; step < 40; ++step) {
      x.mutable_grad() = x.detach() - vector_of({1 + own, -2});
      optimizer.step();
    }
    return RankEnd(optimizer.d(), fused_numbers(x));
  };
  const RankEnd one = run(nullptr);
  const auto two = on_ranks<RankEnd>(2, run);
  EXPECT_GT(one.first, 0.01);
  EXPECT_EQ(two[0], two[1]);
  EXPECT_NEAR(two[0].first, one.first, 1e-12);
}

TEST(DistanceRanks, EstimateAlike) {
  expect_ranks_estimate_alike<Prodigy>(ProdigyOptions().d0(1e-3));
  expect_ranks_estimate_alike<DAdaptAdam>(DAdaptAdamOptions().d0(1e-3));
}

}  // namespace
}  // namespace stepsize::test
