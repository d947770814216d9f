#include <gtest/gtest.h>
#include <stepsize/distributed/average.h>
#include <stepsize/distributed/overlapped_reduction.h>
#include <torch/torch.h>

#include <memory>
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
using test::SmallNet;
using test::Tensors;
using test::zero;

using NoSync = OverlappedReduction::NoSync;

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
