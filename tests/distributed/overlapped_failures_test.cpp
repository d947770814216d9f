#include <gmock/gmock.h>
#include <stepsize/distributed/average.h>
#include <stepsize/distributed/overlapped_reduction.h>
#include <torch/torch.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "csrc/distributed/early_sums.h"
#include "tests/distributed/overlapped_ranks.h"
#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/ranks.h"

namespace stepsize {
namespace {

using test::expect_gradients;
using test::factor_of;
using test::leaf;
using test::loss_of;
using test::message_of;
using test::Plain;
using test::Ranks;
using test::run_ranks;
using test::single_buckets;
using test::Tensors;
using test::zero;
using testing::HasSubstr;

TEST(OverlappedFailures, RefusesAChannelOfOtherRanks) {
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

TEST(OverlappedFailures, RefusesASparseGradientOnAllRanksAndGoesOn) {
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

TEST(OverlappedFailures, ThrowsOnAllRanksWhereOneFailsAndGoesOn) {
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

TEST(OverlappedFailures, EndsTheRunWhereAClosureThrowsBetweenExchanges) {
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

TEST(OverlappedFailures, HearsOfALostRankInBackwardOrAfter) {
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

TEST(OverlappedFailures, RefusesOtherParametersOnAllRanks) {
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

TEST(OverlappedFailures, HasEndedARoundThatIsNotTaken) {
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

}  // namespace
}  // namespace stepsize
