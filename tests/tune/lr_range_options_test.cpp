#include <stepsize/tune/lr_range_test.h>

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <string>
#include <vector>

#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"
#include "tests/tune/lr_range_runs.h"

namespace stepsize {
namespace {

using test::kInfinity;
using test::kNaN;
using test::leaf;
using test::message_of;

struct BadOption {
  LRRangeTestOptions options;
  std::string message;
};

TEST(LRRangeTestOptions, EachIsRefusedOutOfItsRange) {
  using Options = LRRangeTestOptions;
  const std::vector<BadOption> table{
      {Options().start_lr(0), "start_lr must be finite and > 0, got 0"},
      {Options().start_lr(-1), "start_lr must be finite and > 0, got -1"},
      {Options().start_lr(kNaN), "start_lr must be finite and > 0, got nan"},
      {Options().start_lr(1).end_lr(1),
       "end_lr must be finite and > start_lr (1), got 1"},
      {Options().start_lr(0.5).end_lr(kInfinity),
       "end_lr must be finite and > start_lr (0.5), got inf"},
      {Options().num_iterations(1), "num_iterations must be >= 2, got 1"},
      {Options().accumulation_steps(0),
       "accumulation_steps must be >= 1, got 0"},
      {Options().smoothing(1), "smoothing must be in [0, 1), got 1"},
      {Options().smoothing(-0.5), "smoothing must be in [0, 1), got -0.5"},
      {Options().smoothing(kNaN), "smoothing must be in [0, 1), got nan"},
      {Options().divergence(0), "divergence must be > 0, got 0"},
      {Options().divergence(kNaN), "divergence must be > 0, got nan"},
      {Options().half_width(-1), "half_width must be >= 0, got -1"},
      {Options().group_ratios({1, 1}),
       "group_ratios must be one a parameter group (1), or one for all, got 2"},
      {Options().group_ratios({2}), "group_ratios[0] must be 1, got 2"},
  };
  auto w = leaf({1});
  torch::optim::SGD optimizer({w}, torch::optim::SGDOptions(0.5));
  int calls = 0;
  for (const auto& [options, message] : table) {
    EXPECT_EQ(
        message_of([&, &bad = options] {
          lr_range_test(
              {w},
              optimizer,
              [&] {
                ++calls;
                return w.sum();
              },
              bad);
        }),
        "LRRangeTest: " + message);
  }
  EXPECT_EQ(calls, 0);
  EXPECT_EQ(optimizer.param_groups()[0].options().get_lr(), 0.5);
}

TEST(LRRangeTestOptions, RatiosOfAllGroupsAreLookedAt) {
  auto a = leaf({1});
  auto b = leaf({1});
  torch::optim::SGD optimizer({a}, torch::optim::SGDOptions(0.5));
  optimizer.add_param_group({{b}});
  const auto closure = [&] { return (a + b).sum(); };
  EXPECT_EQ(
      message_of([&] {
        lr_range_test(
            {}, optimizer, closure, LRRangeTestOptions().group_ratios({1, -1}));
      }),
      "LRRangeTest: group_ratios must be finite and >= 0, got -1");
}

// What a closure of the wrong kind is told.
std::string told(LRClosure kind, const LossClosure& closure, torch::Tensor& w) {
  torch::optim::SGD optimizer({w}, torch::optim::SGDOptions(0.5));
  return message_of([&] {
    lr_range_test({w}, optimizer, closure, LRRangeTestOptions().closure(kind));
  });
}

TEST(LRRangeTestClosure, TheOtherKindIsRefused) {
  auto w = leaf({1, 2});
  w.mutable_grad() = leaf({8, 8}).detach();
  const auto loss = [&] { return w.square().sum(); };
  const auto backward = [&] {
    auto own = loss();
    own.backward();
    return own;
  };
  EXPECT_EQ(
      told(LRClosure::kCallsBackward, loss, w),
      "LRRangeTest: the closure left no gradient: it must call backward(). For "
      "one that returns the loss with its graph set closure(kReturnsGraph)");
  EXPECT_EQ(
      told(LRClosure::kReturnsGraph, backward, w),
      "LRRangeTest: the closure called backward(), which kReturnsGraph leaves "
      "to the test: set closure(kCallsBackward)");
  EXPECT_EQ(
      told(
          LRClosure::kReturnsGraph, [&] { return loss().detach(); }, w),
      "LRRangeTest: the closure returned a loss without a graph");
  EXPECT_EQ(
      told(
          LRClosure::kCallsBackward, [] { return torch::Tensor(); }, w),
      "LRRangeTest: the closure returned an undefined loss");
  EXPECT_EQ(
      told(
          LRClosure::kReturnsGraph, [&] { return w.square(); }, w),
      "LRRangeTest: the closure must return a loss of one element, got one of "
      "shape [2]");
  EXPECT_EQ(
      told(LRClosure::kReturnsGraph, nullptr, w),
      "LRRangeTest: the closure must not be empty");
  EXPECT_TRUE(torch::equal(w, leaf({1, 2})));
  EXPECT_TRUE(torch::equal(w.grad(), leaf({8, 8})));
}

TEST(LRRangeTestClosure, BothKindsDrawTheSameCurve) {
  for (const auto& [name, make] : test::optimizer_table()) {
    std::vector<std::vector<double>> curves;
    for (const LRClosure kind :
         {LRClosure::kCallsBackward, LRClosure::kReturnsGraph}) {
      torch::manual_seed(9);
      auto net = test::small_net();
      auto optimizer = make(net->parameters());
      const auto* const traits = find_traits(*optimizer);
      if (traits != nullptr && traits->wants_graph()) continue;
      const auto closure = [&] {
        auto loss = test::random_loss(net);
        if (kind == LRClosure::kCallsBackward) loss.backward();
        return loss;
      };
      curves.push_back(
          lr_range_test(
              *net,
              *optimizer,
              closure,
              LRRangeTestOptions().num_iterations(20).end_lr(0.1).closure(kind))
              .losses);
    }
    if (!curves.empty()) {
      EXPECT_EQ(curves[0], curves[1]) << name;
    }
  }
}

TEST(LRRangeTestClosure, PowerMethodSGDWantsTheGraph) {
  auto w = leaf({1});
  PowerMethodSGD optimizer({w});
  EXPECT_EQ(
      message_of(
          [&] { lr_range_test({w}, optimizer, [&] { return w.sum(); }); }),
      "LRRangeTest: PowerMethodSGD calls backward itself: give a closure that "
      "returns the loss with its graph and set closure(kReturnsGraph)");
}

TEST(LRRangeTestClosure, AnOptimizerWithoutParametersIsRefused) {
  torch::optim::SGD optimizer(
      std::vector<torch::Tensor>{}, torch::optim::SGDOptions(0.5));
  EXPECT_EQ(
      message_of([&] {
        lr_range_test({}, optimizer, [] { return torch::zeros({}); });
      }),
      "LRRangeTest: the optimizer has no parameter");
}

}  // namespace
}  // namespace stepsize
