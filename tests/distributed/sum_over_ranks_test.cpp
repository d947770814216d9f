#include <gmock/gmock.h>
#include <stepsize/distributed/sum_over_ranks.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/ranks.h"

namespace stepsize {
namespace {

using test::leaf;
using test::message_of;
using test::run_ranks;
using testing::HasSubstr;

using Ranks = std::shared_ptr<Reduction>;

TEST(SumOverRanks, HasFirstAndSecondDerivatives) {
  run_ranks(2, [](const Ranks& ranks) {
    // s = a w^2 over ranks, a = 1 and 3: s = 4 w^2. The loss of this rank is
    // b s^2, b = 1 and 2, so that the mean is 1.5 * 16 w^4 = 24 w^4.
    const auto weight = leaf({2});
    const double a = ranks->rank() == 0 ? 1 : 3;
    const double b = ranks->rank() == 0 ? 1 : 2;
    const auto sum = sum_over_ranks(a * weight.square(), *ranks);
    EXPECT_EQ(sum.item<double>(), 16);
    const auto loss = (b * sum.square()).sum();
    EXPECT_EQ(ranks->mean(loss.item<double>()), 24 * 16);
    const auto gradient = torch::autograd::grad(
        {loss}, {weight}, {}, /*retain_graph=*/true, /*create_graph=*/true)[0];
    EXPECT_DOUBLE_EQ(ranks->mean(gradient.item<double>()), 24 * 4 * 8);
    const auto second = torch::autograd::grad({gradient.sum()}, {weight})[0];
    EXPECT_DOUBLE_EQ(ranks->mean(second.item<double>()), 24 * 12 * 4);
  });
}

TEST(SumOverRanks, LeavesItsInputAndRefusesIntegers) {
  run_ranks(2, [](const Ranks& ranks) {
    const auto rows = torch::ones({2, 3}).t();
    EXPECT_TRUE(sum_over_ranks(rows, *ranks).equal(torch::full({3, 2}, 2.0F)));
    EXPECT_TRUE(rows.equal(torch::ones({3, 2})));
    EXPECT_THAT(
        message_of([&] { sum_over_ranks(rows.to(torch::kLong), *ranks); }),
        HasSubstr("must be dense, of float32 or float64"));
  });
}

}  // namespace
}  // namespace stepsize
