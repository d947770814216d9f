#include <gtest/gtest.h>
#include <stepsize/tune/lr_range_test.h>
#include <torch/torch.h>

#include <memory>
#include <vector>

#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize {
namespace {

using test::leaf;
using test::message_of;
using torch::optim::SGD;
using torch::optim::SGDOptions;

// Two groups, the second at ten times the rate of the first.
struct TwoGroups {
  torch::Tensor body = leaf({1});
  torch::Tensor head = leaf({2});
  SGD optimizer{
      std::vector<torch::optim::OptimizerParamGroup>{
          {{body}, std::make_unique<SGDOptions>(0.25)},
          {{head}, std::make_unique<SGDOptions>(2.5)}},
      SGDOptions(0.25)};

  std::vector<double> rates() {
    std::vector<double> lrs;
    for (const auto& group : optimizer.param_groups()) {
      lrs.push_back(group.options().get_lr());
    }
    return lrs;
  }

  LRRangeTestResult test(const LRRangeTestOptions& options) {
    return lr_range_test(
        {},
        optimizer,
        [this] {
          auto loss = (body.square() + head.square()).sum();
          loss.backward();
          return loss;
        },
        options);
  }
};

TEST(LRRangeApply, KeepsTheRatiosOfTheGroups) {
  TwoGroups two;
  const auto result = two.test(LRRangeTestOptions().start_lr(1e-5).end_lr(1));
  const double lr = result.suggestion();
  ASSERT_NE(lr, 0.25);
  result.apply(two.optimizer);
  EXPECT_EQ(two.rates(), (std::vector<double>{lr, lr * 10}));
  result.apply(two.optimizer, 0.5);
  EXPECT_EQ(two.rates(), (std::vector<double>{0.5, 5}));
}

TEST(LRRangeApply, TakesTheRatiosThatWereTested) {
  TwoGroups two;
  const auto result =
      two.test(LRRangeTestOptions().num_iterations(3).group_ratios({1, 3}));
  result.apply(two.optimizer, 0.5);
  EXPECT_EQ(two.rates(), (std::vector<double>{0.5, 1.5}));
}

TEST(LRRangeApply, ARatioOfOneIsForAllGroups) {
  TwoGroups two;
  const auto result =
      two.test(LRRangeTestOptions().num_iterations(3).group_ratios({1}));
  result.apply(two.optimizer, 0.5);
  EXPECT_EQ(two.rates(), (std::vector<double>{0.5, 0.5}));
}

TEST(LRRangeApply, ARefusedCallChangesNothing) {
  TwoGroups two;
  LRRangeTestResult result;
  result.group_ratios = {1, 3};
  result.reason = "why";
  EXPECT_EQ(
      message_of([&] { result.apply(two.optimizer); }),
      "LRRangeTestResult: there is no suggestion; status finished (why)");
  EXPECT_EQ(
      message_of([&] { result.apply(two.optimizer, test::kNaN); }),
      "LRRangeTestResult: lr must be finite and > 0, got nan");
  result.group_ratios = {1};
  EXPECT_EQ(
      message_of([&] { result.apply(two.optimizer, 0.5); }),
      "LRRangeTestResult: the optimizer must have as many parameter groups as "
      "the one that was tested (1), got 2");
  EXPECT_EQ(two.rates(), (std::vector<double>{0.25, 2.5}));
}

}  // namespace
}  // namespace stepsize
