#include <gtest/gtest.h>
#include <stepsize/distributed/average.h>
#include <stepsize/distributed/overlapped_reduction.h>
#include <torch/torch.h>

#include <functional>
#include <memory>
#include <utility>
#include <vector>

#include "tests/distributed/overlapped_ranks.h"
#include "tests/support/leaf.h"
#include "tests/support/ranks.h"

namespace stepsize {
namespace {

using test::expect_gradients;
using test::factor_of;
using test::leaf;
using test::loss_of;
using test::numbers;
using test::Plain;
using test::Ranks;
using test::run_ranks;
using test::single_buckets;
using test::Tensors;
using test::zero;

// Averages after a change that one rank or both make to what is under way.
void expect_sent_again(
    const std::function<void(const Ranks&, const Tensors&)>& change,
    const std::vector<torch::Tensor>& expected) {
  run_ranks(2, [&](const Ranks& ranks) {
    const Tensors parameters{leaf({1, 2}), leaf({2}), leaf({3})};
    OverlappedReduction overlapped(ranks, parameters, single_buckets());
    loss_of(parameters, factor_of(ranks)).backward();
    EXPECT_EQ(overlapped.sent_early(), 3);
    change(ranks, parameters);
    average_gradients(parameters, overlapped);
    EXPECT_EQ(overlapped.sent_again(), 1);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      EXPECT_TRUE(parameters[i].grad().equal(expected[i])) << i;
    }
  });
}

TEST(OverlappedExchange, SendsAgainWhatHasChangedSince) {
  // As clip_grad_norm_() does it, which no version counts.
  expect_sent_again(
      [](const Ranks& ranks, const Tensors& parameters) {
        if (ranks->rank() == 1) parameters[0].grad().data().mul_(0.5);
      },
      {numbers({1.25, 1.25}), numbers({4}), numbers({6})});
  // Another tensor.
  expect_sent_again(
      [](const Ranks& /*ranks*/, Tensors parameters) {
        parameters[1].mutable_grad() = numbers({5});
      },
      {numbers({2, 2}), numbers({5}), numbers({6})});
  // None, which counts as zeros.
  expect_sent_again(
      [](const Ranks& ranks, Tensors parameters) {
        if (ranks->rank() == 0) parameters[2].mutable_grad().reset();
      },
      {numbers({2, 2}), numbers({4}), numbers({4.5})});
}

TEST(OverlappedExchange, SendsAgainWhereOnlyTheOrderHasChanged) {
  run_ranks(2, [](const Ranks& ranks) {
    const Tensors parameters{leaf({1, 2})};
    OverlappedReduction overlapped(ranks, parameters);
    parameters[0].square().sum().backward();
    EXPECT_EQ(overlapped.sent_early(), 1);
    parameters[0].grad().data().copy_(numbers({4, 2}));
    average_gradients(parameters, overlapped);
    EXPECT_TRUE(parameters[0].grad().equal(numbers({4, 2})));
  });
}

// The gradient that goes out, and the one that is there in the step, of 4096
// elements of float32, which are 0 but for some.
using Elements = std::vector<std::pair<int64_t, float>>;
void expect_change_is_seen(const Elements& sent, const Elements& wanted) {
  const auto filled = [](const Elements& elements) {
    auto tensor = torch::zeros({4096});
    for (const auto& [at, value] : elements) tensor[at] = value;
    return tensor;
  };
  run_ranks(2, [&](const Ranks& ranks) {
    auto own = torch::zeros({4096}).set_requires_grad(true);
    OverlappedReduction overlapped(ranks, {own});
    (own * filled(sent)).sum().backward();
    EXPECT_EQ(overlapped.sent_early(), 1);
    own.grad().data().copy_(filled(wanted));
    average_gradients({own}, overlapped);
    EXPECT_TRUE(own.grad().equal(filled(wanted)));
    EXPECT_EQ(overlapped.sent_again(), 1);
  });
}

TEST(OverlappedExchange, SeesAValueThatHasMovedAnywhere) {
  for (const int64_t elements : {1, 2, 8, 16, 128, 1024, 2048, 3072}) {
    expect_change_is_seen({{5, 1.5F}}, {{5 + elements, 1.5F}});
  }
  // One doubled, one halved: one more and one less in the exponent.
  expect_change_is_seen({{7, 1.0F}, {1031, 1.0F}}, {{7, 2.0F}, {1031, 0.5F}});
  // Signs alone, of a number and of two that come 64 bytes later.
  expect_change_is_seen(
      {{1, 1.0F}, {16, 1.0F}, {17, 1.0F}},
      {{1, -1.0F}, {16, -1.0F}, {17, -1.0F}});
}

TEST(OverlappedExchange, SeesTheNextRowsOfAnEmbedding) {
  run_ranks(2, [](const Ranks& ranks) {
    const auto weight = torch::zeros({64, 64}).set_requires_grad(true);
    OverlappedReduction overlapped(ranks, {weight});
    const auto use = [&](int64_t row) {
      zero({weight});
      weight.index_select(0, torch::tensor({row})).sum().backward();
    };
    use(3);
    EXPECT_EQ(overlapped.sent_early(), 1);
    use(19);
    average_gradients({weight}, overlapped);
    const auto rows = weight.grad().sum(1);
    EXPECT_EQ(rows[3].item<float>(), 0);
    EXPECT_EQ(rows[19].item<float>(), 64);
  });
}

TEST(OverlappedExchange, WhatRestsStopsNoOtherBucket) {
  run_ranks(2, [](const Ranks& ranks) {
    // The last goes out first. One rank changes it in each step, and both leave
    // it for later.
    const Tensors parameters{leaf({1}), leaf({2}), leaf({3})};
    OverlappedReduction overlapped(ranks, parameters, single_buckets());
    for (int step = 0; step < 10; ++step) {
      zero(parameters);
      loss_of(parameters, factor_of(ranks)).backward();
      if (ranks->rank() == 1) parameters[2].grad().data().fill_(5);
      average_gradients(parameters, overlapped);
      expect_gradients(parameters, {2, 4, 4});
    }
    // It tries in the first step, and after a rest of 1 and 2.
    EXPECT_EQ(overlapped.sent_early(), 3 + 2 * 10);
    EXPECT_EQ(overlapped.sent_again(), 3);
  });
}

TEST(OverlappedExchange, WhatIsSparseUntilTheStepStopsNoOtherBucket) {
  run_ranks(2, [](const Ranks& ranks) {
    Tensors parameters{leaf({1}), leaf({2}), torch::zeros({2, 1})};
    torch::Tensor& table = parameters[2];
    table.set_requires_grad(true);
    OverlappedReduction overlapped(ranks, parameters, single_buckets());
    for (int step = 0; step < 10; ++step) {
      zero(parameters);
      auto loss = loss_of({parameters[0], parameters[1]}, factor_of(ranks));
      const auto rows = torch::tensor({int64_t{0}, int64_t{1}});
      loss = loss + torch::embedding(table, rows, -1, false, true).sum();
      loss.backward();
      ASSERT_TRUE(table.grad().is_sparse());
      table.mutable_grad() = table.grad().to_dense();
      average_gradients(parameters, overlapped);
      expect_gradients(parameters, {2, 4, 1});
    }
    EXPECT_EQ(overlapped.sent_early(), 3 + 2 * 10);
  });
}

// It counts the elements that it adds up.
class Counting : public Plain {
 public:
  using Plain::Plain;
  void sum(at::Tensor& tensor) override {
    elements += tensor.numel();
    Plain::sum(tensor);
  }
  int64_t elements = 0;
};

TEST(OverlappedExchange, SendsNothingOfWhatIsFrozenOnAllRanks) {
  run_ranks(2, [](const Ranks& ranks) {
    const auto channel = std::make_shared<Counting>(ranks->duplicate());
    Tensors parameters{torch::zeros({1000}), leaf({2, 2}), leaf({3})};
    // One of them on rank 0 alone.
    parameters[2].set_requires_grad(ranks->rank() == 0);
    OverlappedReduction overlapped(
        ranks, parameters, OverlappedReductionOptions().channel(channel));
    for (int step = 0; step < 2; ++step) {
      zero(parameters);
      (parameters[1].sum() + parameters[2].sum()).backward();
      average_gradients(parameters, overlapped);
      EXPECT_EQ(parameters[1].grad()[0].item<double>(), 1);
      EXPECT_EQ(parameters[2].grad().item<double>(), 0.5);
    }
    // Of the first once more, as rank 1 did not know that it has no gradient.
    EXPECT_LE(channel->elements, 3 * 3);
    // It is trained from here on, and has a bucket after a step.
    parameters[0].set_requires_grad(true);
    channel->elements = 0;
    for (int step = 0; step < 3; ++step) {
      zero(parameters);
      (parameters[0] * factor_of(ranks)).sum().backward();
      average_gradients(parameters, overlapped);
      EXPECT_TRUE(parameters[0].grad().equal(torch::full({1000}, 2.0F)));
      if (step == 0) {
        EXPECT_LE(channel->elements, 3);
      }
    }
    EXPECT_GE(channel->elements, 2 * 1000);
  });
}

TEST(OverlappedExchange, GoesOnAfterAModelWasMovedAndIsBack) {
  run_ranks(2, [](const Ranks& ranks) {
    torch::nn::LinearImpl linear(2, 1);
    const Tensors parameters = linear.parameters();
    OverlappedReduction overlapped(ranks, parameters);
    const auto step = [&] {
      linear.zero_grad();
      const double factor = factor_of(ranks);
      (linear.forward(torch::ones({1, 2})) * factor).sum().backward();
      average_gradients(parameters, overlapped);
      EXPECT_TRUE(linear.weight.grad().equal(torch::full({1, 2}, 2.0F)));
    };
    step();
    linear.to(torch::kFloat64);
    linear.to(torch::kFloat32);
    step();
    EXPECT_EQ(overlapped.sent_early(), 1);
    // It listens again.
    step();
    EXPECT_EQ(overlapped.sent_early(), 2);
  });
}

TEST(OverlappedExchange, LearnsNotToSendWhatChangesInEachStep) {
  run_ranks(2, [](const Ranks& ranks) {
    const Tensors parameters{leaf({1}), leaf({2})};
    OverlappedReduction overlapped(ranks, parameters, single_buckets());
    const auto step = [&](double clip) {
      zero(parameters);
      loss_of(parameters, factor_of(ranks)).backward();
      for (const auto& own : parameters) own.grad().data().mul_(clip);
      average_gradients(parameters, overlapped);
      expect_gradients(parameters, {2 * clip, 4 * clip});
    };
    // It tries in the first step, and after a rest of 1, 2 and 4.
    for (int i = 0; i < 10; ++i) step(0.5);
    EXPECT_EQ(overlapped.sent_early(), 6);
    EXPECT_EQ(overlapped.sent_again(), 6);
    // And goes on where there is no such change any more.
    for (int i = 0; i < 3; ++i) step(1);
    EXPECT_EQ(overlapped.sent_early(), 12);
    EXPECT_EQ(overlapped.sent_again(), 6);
  });
}

TEST(OverlappedExchange, DoesNotSendWhatIsMadeWithAGraph) {
  run_ranks(2, [](const Ranks& ranks) {
    const Tensors parameters{leaf({2}), leaf({3})};
    OverlappedReduction overlapped(ranks, parameters, single_buckets());
    // sum w^3: gradient 3 w^2, and 6 w of the gradient's sum.
    const auto loss = (parameters[0].pow(3) + parameters[1].pow(3)).sum();
    loss.backward({}, /*retain_graph=*/true, /*create_graph=*/true);
    EXPECT_EQ(overlapped.sent_early(), 0);
    const auto slope = parameters[0].grad() * factor_of(ranks);
    const auto second = torch::autograd::grad({slope.sum()}, {parameters[0]});
    EXPECT_EQ(second[0].item<double>(), 12 * factor_of(ranks));
    EXPECT_EQ(overlapped.sent_early(), 0);
    {
      const torch::NoGradGuard no_grad;
      for (auto own : parameters) {
        own.mutable_grad() = own.grad().detach() * factor_of(ranks);
      }
    }
    average_gradients(parameters, overlapped);
    expect_gradients(parameters, {24, 54});
  });
}

}  // namespace
}  // namespace stepsize
