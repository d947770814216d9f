#include <gmock/gmock.h>
#include <stepsize/distributed/average.h>
#include <stepsize/distributed/overlapped_reduction.h>
#include <torch/torch.h>

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "csrc/distributed/early_sums.h"
#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/ranks.h"

namespace stepsize {
namespace {

using test::leaf;
using test::message_of;
using test::on_ranks;
using test::run_ranks;
using testing::HasSubstr;

using Ranks = std::shared_ptr<Reduction>;
using Tensors = std::vector<torch::Tensor>;
using NoSync = OverlappedReduction::NoSync;

torch::Tensor numbers(const std::vector<double>& values) {
  return torch::tensor(values, torch::kFloat64);
}

// A bucket a tensor.
OverlappedReductionOptions single_buckets() {
  return OverlappedReductionOptions().bucket_bytes(1);
}

// 1 on rank 0, 3 on rank 1, 5 on rank 2.
double factor_of(const Ranks& ranks) {
  return 1 + 2 * static_cast<double>(ranks->rank());
}

// The gradient of each parameter is factor times its position from 1 on.
torch::Tensor loss_of(const Tensors& parameters, double factor) {
  torch::Tensor loss = torch::zeros({}, torch::kFloat64);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    loss = loss + parameters[i].sum() * factor * (static_cast<double>(i) + 1);
  }
  return loss;
}

void zero(const Tensors& parameters) {
  for (auto parameter : parameters) parameter.mutable_grad().reset();
}

// One value a parameter, of which each element of its gradient has it.
void expect_gradients(
    const Tensors& parameters, const std::vector<double>& expected) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto& own = parameters[i].grad();
    ASSERT_TRUE(own.defined()) << i;
    EXPECT_TRUE(own.equal(torch::full_like(own, expected[i]))) << i << own;
  }
}

// tanh(x A + b) C, and the numbers of each rank and step; made by one thread,
// as all share the random state.
struct SmallNet {
  SmallNet() {
    torch::manual_seed(7);
    values = {torch::randn({6, 9}), torch::randn({9}), torch::randn({9, 3})};
    rows = torch::randn({2, 5, 5, 6});
  }
  Tensors parameters() const {
    Tensors own;
    for (const auto& value : values) {
      own.push_back(value.clone().set_requires_grad(true));
    }
    return own;
  }
  torch::Tensor loss(const Tensors& own, int64_t rank, int64_t step) const {
    return torch::tanh(rows[rank][step].mm(own[0]) + own[1])
        .mm(own[2])
        .square()
        .mean();
  }
  Tensors values;
  torch::Tensor rows;
};

// A class that has no further groups.
class Plain : public Reduction {
 public:
  explicit Plain(Ranks ranks) : ranks_(std::move(ranks)) {}
  int64_t rank() const override { return ranks_->rank(); }
  int64_t world_size() const override { return ranks_->world_size(); }
  void sum(at::Tensor& tensor) override { ranks_->sum(tensor); }
  void broadcast(at::Tensor& bytes, int64_t root) override {
    ranks_->broadcast(bytes, root);
  }

 private:
  Ranks ranks_;
};

TEST(OverlappedReduction, HasTheBitsOfAnAverageAfterBackward) {
  const SmallNet net;
  for (const int64_t bytes : {int64_t{1}, int64_t{150}, int64_t{1} << 20}) {
    run_ranks(2, [&](const Ranks& ranks) {
      const auto parameters = net.parameters();
      OverlappedReduction overlapped(
          ranks, parameters, OverlappedReductionOptions().bucket_bytes(bytes));
      ASSERT_TRUE(overlapped.overlaps());
      for (int64_t step = 1; step < 4; ++step) {
        zero(parameters);
        {
          const NoSync no_sync(overlapped);
          net.loss(parameters, ranks->rank(), step).backward();
        }
        average_gradients(parameters, *ranks);
        Tensors wanted;
        for (const auto& own : parameters) wanted.push_back(own.grad());
        zero(parameters);
        net.loss(parameters, ranks->rank(), step).backward();
        // All are under way before anybody asks for them.
        // Of 108, 36 and 216 bytes, from the last on.
        const int64_t buckets = bytes == 1 ? 3 : bytes == 150 ? 2 : 1;
        EXPECT_EQ(overlapped.sent_early(), step * buckets);
        average_gradients(parameters, overlapped);
        for (std::size_t i = 0; i < parameters.size(); ++i) {
          EXPECT_TRUE(parameters[i].grad().equal(wanted[i])) << i;
        }
      }
      EXPECT_EQ(overlapped.sent_again(), 0);
    });
  }
}

TEST(OverlappedReduction, AddsTheSharesOfThreeRanksUp) {
  run_ranks(3, [](const Ranks& ranks) {
    const Tensors parameters{leaf({1, 2}), leaf({3}), leaf({4})};
    OverlappedReduction overlapped(ranks, parameters, single_buckets());
    loss_of(parameters, factor_of(ranks)).backward();
    EXPECT_EQ(overlapped.sent_early(), 3);
    average_gradients(parameters, overlapped);
    expect_gradients(parameters, {3, 6, 9});
  });
}

TEST(OverlappedReduction, AddsHalfPrecisionUpInFloat32) {
  run_ranks(3, [](const Ranks& ranks) {
    // 256 + 1 is 256 in bfloat16, and so is 256 + 1 + 1, whose third is 86.
    auto own = torch::zeros({2}, torch::kBFloat16).set_requires_grad(true);
    OverlappedReduction overlapped(ranks, {own});
    (own * (ranks->rank() == 0 ? 256.0 : 1.0)).sum().backward();
    EXPECT_EQ(overlapped.sent_early(), 1);
    average_gradients({own}, overlapped);
    EXPECT_EQ(own.grad()[0].item<float>(), 86);
    EXPECT_EQ(own.grad().scalar_type(), torch::kBFloat16);
  });
}

TEST(OverlappedReduction, CountsWhatARankHasNotUsedAsZeros) {
  run_ranks(2, [](const Ranks& ranks) {
    const Tensors parameters{leaf({1}), leaf({2}), leaf({3}), leaf({4})};
    OverlappedReduction overlapped(ranks, parameters, single_buckets());
    for (int step = 0; step < 3; ++step) {
      zero(parameters);
      // The last, whose bucket is the first, is used by rank 0 alone; the
      // second by nobody.
      auto loss = parameters[0].sum() * factor_of(ranks) + parameters[2].sum();
      if (ranks->rank() == 0) loss = loss + 8 * parameters[3].sum();
      loss.backward();
      // On the way there the ranks have not sent the same yet.
      EXPECT_EQ(ranks->mean(loss.item<double>()), 21);
      average_gradients(parameters, overlapped);
      EXPECT_TRUE(parameters[0].grad().equal(numbers({2})));
      EXPECT_FALSE(parameters[1].grad().defined());
      EXPECT_TRUE(parameters[2].grad().equal(numbers({1})));
      EXPECT_TRUE(parameters[3].grad().equal(numbers({4})));
    }
    // Nothing waits any more for what was not used.
    EXPECT_GE(overlapped.sent_early(), 8);
    EXPECT_EQ(overlapped.sent_again(), 0);
  });
}

TEST(OverlappedReduction, WaitsForTheLastOfSeveralBackward) {
  run_ranks(2, [](const Ranks& ranks) {
    const Tensors parameters{leaf({1}), leaf({2})};
    OverlappedReduction overlapped(ranks, parameters, single_buckets());
    const auto step = [&](int micro_batches) {
      zero(parameters);
      for (int i = 0; i < micro_batches; ++i) {
        loss_of(parameters, factor_of(ranks)).backward();
      }
      average_gradients(parameters, overlapped);
      expect_gradients(parameters, {2.0 * micro_batches, 4.0 * micro_batches});
    };
    step(3);
    // It could not know.
    EXPECT_EQ(overlapped.sent_early(), 2);
    EXPECT_EQ(overlapped.sent_again(), 2);
    step(3);
    step(3);
    EXPECT_EQ(overlapped.sent_early(), 6);
    EXPECT_EQ(overlapped.sent_again(), 2);
    // After a short update it waits for the usual number still.
    step(1);
    step(2);
    EXPECT_EQ(overlapped.sent_early(), 6);
    step(2);
    EXPECT_EQ(overlapped.sent_early(), 8);
    step(3);
    EXPECT_EQ(overlapped.sent_again(), 4);
  });
}

TEST(OverlappedReduction, SendsOnceWhereTheLastUpdateOfAnEpochIsShort) {
  run_ranks(2, [](const Ranks& ranks) {
    const Tensors parameters{leaf({1}), leaf({2})};
    OverlappedReduction overlapped(ranks, parameters, single_buckets());
    for (int epoch = 0; epoch < 3; ++epoch) {
      for (const int micro_batches : {4, 4, 2}) {
        zero(parameters);
        for (int i = 0; i < micro_batches; ++i) {
          loss_of(parameters, factor_of(ranks)).backward();
        }
        average_gradients(parameters, overlapped);
        expect_gradients(
            parameters, {2.0 * micro_batches, 4.0 * micro_batches});
      }
    }
    // Of the first step, which could not know.
    EXPECT_EQ(overlapped.sent_again(), 2);
    EXPECT_EQ(overlapped.sent_early(), 2 + 2 + 2 * 2 * 2);
  });
}

TEST(OverlappedReduction, RanksNeedNotCallBackwardAsOften) {
  run_ranks(2, [](const Ranks& ranks) {
    const Tensors parameters{leaf({1}), leaf({2})};
    OverlappedReduction overlapped(ranks, parameters, single_buckets());
    for (int step = 0; step < 3; ++step) {
      zero(parameters);
      for (int64_t i = 0; i < 2 * ranks->rank(); ++i) {
        loss_of(parameters, 1).backward();
      }
      average_gradients(parameters, overlapped);
      expect_gradients(parameters, {1, 2});
    }
  });
}

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

TEST(OverlappedReduction, SendsAgainWhatHasChangedSince) {
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

TEST(OverlappedReduction, SendsAgainWhereOnlyTheOrderHasChanged) {
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

TEST(OverlappedReduction, SeesAValueThatHasMovedAnywhere) {
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

TEST(OverlappedReduction, SeesTheNextRowsOfAnEmbedding) {
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

TEST(OverlappedReduction, WhatRestsStopsNoOtherBucket) {
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

TEST(OverlappedReduction, WhatIsSparseUntilTheStepStopsNoOtherBucket) {
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

TEST(OverlappedReduction, SendsNothingOfWhatIsFrozenOnAllRanks) {
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

TEST(OverlappedReduction, GoesOnAfterAModelWasMovedAndIsBack) {
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

TEST(OverlappedReduction, HasEndedARoundThatIsNotTaken) {
  run_ranks(2, [](const Ranks& ranks) {
    const Tensors parameters{leaf({1}), leaf({2})};
    detail::EarlySums early(parameters, {true, true}, ranks->duplicate(), 1);
    for (const bool takes : {true, false, true}) {
      zero(parameters);
      loss_of(parameters, factor_of(ranks)).backward();
      RankShare share;
      for (const auto& own : parameters) share.tensors.push_back(own.grad());
      early.agree(parameters, share, *ranks, AverageOptions());
      early.wait();
      const bool throws = !takes && ranks->rank() == 0;
      std::vector<double> means;
      const auto finish = [&] {
        early.finish(2, [&](std::size_t /*i*/, const at::Tensor& mean) {
          if (throws) throw std::runtime_error("no memory");
          means.push_back(mean.item<double>());
        });
      };
      if (throws) {
        EXPECT_THROW(finish(), std::runtime_error);
      } else {
        finish();
        EXPECT_EQ(means, (std::vector<double>{4, 2}));
      }
    }
    // All that went out early was of the round at hand.
    EXPECT_EQ(early.sent_early(), 6);
    EXPECT_EQ(early.sent_again(), 0);
  });
}

TEST(OverlappedReduction, RefusesAChannelOfOtherRanks) {
  class Other : public Plain {
   public:
    using Plain::Plain;
    int64_t rank() const override { return 1 - Plain::rank(); }
  };
  run_ranks(2, [](const Ranks& ranks) {
    const Tensors parameters{leaf({1})};
    const auto text_with = [&](const Ranks& channel) {
      return message_of([&] {
        OverlappedReduction overlapped(
            ranks, parameters, OverlappedReductionOptions().channel(channel));
      });
    };
    const std::string itself = "channel must be another group than the ranks'";
    EXPECT_THAT(text_with(ranks), HasSubstr(itself));
    // On one rank alone.
    EXPECT_THAT(
        text_with(ranks->rank() == 1 ? ranks : nullptr),
        HasSubstr(
            (ranks->rank() == 0 ? "rank 1 failed: " : "") +
            ("OverlappedReduction: " + itself)));
    EXPECT_THAT(
        text_with(std::make_shared<Other>(ranks->duplicate())),
        HasSubstr("channel must be of the same ranks, got rank"));
    // They can go on.
    EXPECT_EQ(ranks->mean(1), 1);
  });
}

TEST(OverlappedReduction, LearnsNotToSendWhatChangesInEachStep) {
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

TEST(OverlappedReduction, AveragesAnExpandedGradient) {
  run_ranks(2, [](const Ranks& ranks) {
    const Tensors parameters{leaf({1, 2}), leaf({2})};
    OverlappedReduction overlapped(ranks, parameters, single_buckets());
    loss_of(parameters, 1).backward();
    parameters[0].mutable_grad() = numbers({factor_of(ranks)}).expand({2});
    average_gradients(parameters, overlapped);
    expect_gradients(parameters, {2, 2});
  });
}

TEST(OverlappedReduction, RefusesASparseGradientOnAllRanksAndGoesOn) {
  run_ranks(2, [](const Ranks& ranks) {
    const Tensors parameters{leaf({1, 2}), leaf({2})};
    OverlappedReduction overlapped(ranks, parameters, single_buckets());
    loss_of(parameters, factor_of(ranks)).backward();
    if (ranks->rank() == 1) {
      parameters[0].mutable_grad() = torch::sparse_coo_tensor(
          torch::zeros({1, 1}, torch::kLong),
          torch::ones({1}, torch::kFloat64),
          {2});
    }
    const std::string text = "average: tensor 0 is sparse";
    EXPECT_THAT(
        message_of([&] { average_gradients(parameters, overlapped); }),
        HasSubstr(ranks->rank() == 1 ? text : "rank 1 failed: " + text));
    EXPECT_EQ(parameters[1].grad().item<double>(), 2 * factor_of(ranks));
    zero(parameters);
    loss_of(parameters, factor_of(ranks)).backward();
    average_gradients(parameters, overlapped);
    expect_gradients(parameters, {2, 4});
  });
}

TEST(OverlappedReduction, DoesNotSendWhatIsMadeWithAGraph) {
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

TEST(OverlappedReduction, ThrowsOnAllRanksWhereOneFailsAndGoesOn) {
  run_ranks(2, [](const Ranks& ranks) {
    const Tensors parameters{leaf({1}), leaf({2}), leaf({3})};
    OverlappedReduction overlapped(ranks, parameters, single_buckets());
    for (const bool has_sent : {false, true}) {
      const auto evaluate = [&](bool fails) {
        return evaluate_on_ranks(
            [&] {
              zero(parameters);
              if (fails && !has_sent) throw std::runtime_error("no such file");
              auto loss = loss_of(parameters, factor_of(ranks));
              loss.backward();
              if (fails) throw std::runtime_error("no such file");
              return loss;
            },
            parameters,
            overlapped);
      };
      if (ranks->rank() == 1) {
        EXPECT_THROW(evaluate(true), std::runtime_error);
      } else {
        EXPECT_EQ(
            message_of([&] { evaluate(false); }),
            "rank 1 failed: no such file");
        expect_gradients(parameters, {1, 2, 3});
      }
      // The mean of w1 + 2 w2 + 3 w3, 14, times 1 and 3.
      EXPECT_EQ(evaluate(false).item<double>(), 28);
      expect_gradients(parameters, {2, 4, 6});
    }
  });
}

TEST(OverlappedReduction, EndsTheRunWhereAClosureThrowsBetweenExchanges) {
  run_ranks(2, [](const Ranks& ranks) {
    const Tensors parameters{leaf({1}), leaf({2})};
    OverlappedReduction overlapped(ranks, parameters, single_buckets());
    const auto evaluate = [&] {
      evaluate_on_ranks(
          [&]() -> torch::Tensor {
            auto loss = loss_of(parameters, 1);
            loss.backward();
            overlapped.mean(1);
            if (ranks->rank() == 0) throw std::runtime_error("out of data");
            overlapped.mean(2);
            return loss;
          },
          parameters,
          overlapped);
    };
    if (ranks->rank() == 0) {
      EXPECT_THROW(evaluate(), std::runtime_error);
    } else {
      EXPECT_THROW(evaluate(), RankLostError);
      expect_gradients(parameters, {1, 2});
    }
  });
}

TEST(OverlappedReduction, HearsOfALostRankInBackwardOrAfter) {
  run_ranks(2, [](const Ranks& ranks) {
    const Tensors parameters{leaf({1}), leaf({2})};
    auto overlapped = std::make_shared<OverlappedReduction>(
        ranks, parameters, single_buckets());
    if (ranks->rank() == 1) {
      overlapped->give_up();
      return;
    }
    EXPECT_THROW(
        {
          loss_of(parameters, 1).backward();
          average_gradients(parameters, *overlapped);
        },
        RankLostError);
    expect_gradients(parameters, {1, 2});
  });
}

TEST(OverlappedReduction, RefusesOtherParametersOnAllRanks) {
  run_ranks(2, [](const Ranks& ranks) {
    Tensors parameters{leaf({1}), leaf({2})};
    const auto make = [&](const Tensors& own) {
      OverlappedReduction overlapped(ranks, own);
    };
    EXPECT_THAT(
        message_of([&] {
          make(ranks->rank() == 0 ? parameters : Tensors{leaf({1})});
        }),
        HasSubstr("rank 1: number of tensors is 1, rank 0 has 2"));
    EXPECT_THAT(
        message_of([&] {
          make(ranks->rank() == 0 ? parameters : Tensors(2, parameters[0]));
        }),
        HasSubstr("OverlappedReduction: parameter 1 stands there twice"));
    EXPECT_THAT(
        message_of([&] {
          OverlappedReduction overlapped(
              ranks, parameters, OverlappedReductionOptions().bucket_bytes(0));
        }),
        HasSubstr("OverlappedReduction: bucket_bytes must be >= 1, got 0"));
    // And in the middle of a run, after buckets have gone out.
    OverlappedReduction overlapped(ranks, parameters, single_buckets());
    loss_of(parameters, factor_of(ranks)).backward();
    const Tensors all = parameters;
    if (ranks->rank() == 1) parameters.pop_back();
    EXPECT_THAT(
        message_of([&] { average_gradients(parameters, overlapped); }),
        HasSubstr("rank 1: number of tensors is 1, rank 0 has 2"));
    average_gradients(all, overlapped);
    expect_gradients(all, {2, 4});
  });
}

TEST(OverlappedReduction, AveragesOtherTensorsAsTheRanksDo) {
  run_ranks(2, [](const Ranks& ranks) {
    const Tensors parameters{leaf({1}), leaf({2})};
    OverlappedReduction overlapped(ranks, parameters, single_buckets());
    loss_of(parameters, factor_of(ranks)).backward();
    // Something else of their shape, and some of them, while they are under
    // way.
    RankShare share;
    share.tensors = {numbers({factor_of(ranks)}), numbers({1})};
    share.numbers = {factor_of(ranks)};
    const RankMeans means = average(parameters, share, overlapped);
    EXPECT_EQ(means.tensors[0].item<double>(), 2);
    EXPECT_EQ(means.tensors[1].item<double>(), 1);
    EXPECT_EQ(means.numbers, std::vector<double>{2});
    average_gradients({parameters[1]}, overlapped);
    EXPECT_EQ(parameters[1].grad().item<double>(), 4);
    average_gradients({parameters[1], parameters[0]}, overlapped);
    expect_gradients(parameters, {2, 4});
    EXPECT_EQ(means.tensors[0].item<double>(), 2);
  });
}

TEST(OverlappedReduction, ListensToAParameterThatIsTrainedLater) {
  run_ranks(2, [](const Ranks& ranks) {
    const Tensors parameters{leaf({1}), leaf({2})};
    auto first = parameters[0];
    first.set_requires_grad(false);
    OverlappedReduction overlapped(ranks, parameters, single_buckets());
    for (int step = 0; step < 3; ++step) {
      zero(parameters);
      if (step == 1) first.set_requires_grad(true);
      loss_of(parameters, factor_of(ranks)).backward();
      average_gradients(parameters, overlapped);
      EXPECT_EQ(first.grad().defined(), step > 0);
      EXPECT_EQ(parameters[1].grad().item<double>(), 4);
      if (step > 0) {
        EXPECT_EQ(first.grad().item<double>(), 2);
      }
    }
    zero(parameters);
    const int64_t before = overlapped.sent_early();
    const int64_t again = overlapped.sent_again();
    loss_of(parameters, factor_of(ranks)).backward();
    EXPECT_EQ(overlapped.sent_early(), before + 2);
    average_gradients(parameters, overlapped);
    EXPECT_EQ(overlapped.sent_again(), again);
  });
}

TEST(OverlappedReduction, AveragesAfterBackwardWhereThereIsNoChannel) {
  run_ranks(2, [](const Ranks& ranks) {
    const Tensors parameters{leaf({1}), leaf({2})};
    const auto plain = std::make_shared<Plain>(ranks);
    OverlappedReduction alone(plain, parameters);
    EXPECT_FALSE(alone.overlaps());
    const auto channel = ranks->duplicate();
    OverlappedReduction overlapped(
        plain, parameters, OverlappedReductionOptions().channel(channel));
    EXPECT_TRUE(overlapped.overlaps());
    for (OverlappedReduction* own : {&alone, &overlapped}) {
      zero(parameters);
      loss_of(parameters, factor_of(ranks)).backward();
      average_gradients(parameters, *own);
      expect_gradients(parameters, {2, 4});
      average_gradients(parameters, own == &alone ? overlapped : alone);
      expect_gradients(parameters, {2, 4});
    }
  });
}

}  // namespace
}  // namespace stepsize
