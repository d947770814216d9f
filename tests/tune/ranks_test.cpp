// The tuning tools where several ranks train one model.

#include <gmock/gmock.h>
#include <stepsize/distributed/overlapped_reduction.h>
#include <stepsize/distributed/reduction.h>
#include <stepsize/optim/auto_sgd.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/tune/gradient_noise_scale.h>
#include <stepsize/tune/lr_range_test.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>

#include <cmath>
#include <functional>
#include <memory>
#include <stdexcept>
#include <vector>

#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"
#include "tests/support/rank_problem.h"
#include "tests/support/ranks.h"

namespace stepsize {
namespace {

using test::kNaN;
using test::leaf;
using test::message_of;
using test::on_ranks;
using test::RankProblem;
using test::run_ranks;
using testing::HasSubstr;

using Ranks = std::shared_ptr<Reduction>;

// A range test on this rank's share of the examples; no ranks: on all.
LRRangeTestResult range_test_of(
    const Ranks& ranks,
    const std::function<std::unique_ptr<torch::optim::Optimizer>(
        std::vector<at::Tensor>)>& make,
    LRRangeTestOptions options,
    bool overlaps = false) {
  RankProblem problem;
  std::shared_ptr<OverlappedReduction> overlapped;
  if (overlaps) {
    overlapped =
        std::make_shared<OverlappedReduction>(ranks, problem.parameters());
  }
  const auto optimizer = make(problem.parameters());
  const auto before = problem.point();
  const int64_t count = ranks ? 4 : 8;
  const int64_t first = ranks ? 4 * ranks->rank() : 0;
  const bool with_graph = options.closure() == LRClosure::kReturnsGraph;
  auto result = lr_range_test(
      problem.parameters(),
      *optimizer,
      [&] {
        return with_graph ? problem.loss(first, count)
                          : problem.loss_and_gradients(first, count);
      },
      options.reduction(overlaps ? overlapped : ranks));
  EXPECT_TRUE(problem.point().equal(before));
  if (overlaps) {
    EXPECT_GT(overlapped->sent_early(), 0);
  }
  return result;
}

template <typename Optimizer, typename Options>
auto maker_of(const Options& options) {
  return [options](std::vector<at::Tensor> parameters)
             -> std::unique_ptr<torch::optim::Optimizer> {
    return std::make_unique<Optimizer>(std::move(parameters), options);
  };
}

template <typename Make>
void expect_the_result_of_one(
    const Make& make, const LRRangeTestOptions& options, double tolerance) {
  const auto one = range_test_of(nullptr, make, options);
  const auto two = on_ranks<LRRangeTestResult>(2, [&](const Ranks& ranks) {
    return range_test_of(ranks, make, options);
  });
  EXPECT_EQ(two[0].losses, two[1].losses);
  EXPECT_EQ(two[0].reason, two[1].reason);
  EXPECT_EQ(two[0].max_stable_lr, two[1].max_stable_lr);
  ASSERT_EQ(two[0].losses.size(), one.losses.size());
  EXPECT_EQ(two[0].status, one.status);
  for (std::size_t i = 0; i < one.losses.size(); ++i) {
    EXPECT_NEAR(
        two[0].losses[i], one.losses[i], tolerance * (1 + one.losses[i]))
        << i;
  }
}

LRRangeTestOptions short_test() {
  return LRRangeTestOptions().start_lr(1e-3).end_lr(2).num_iterations(25);
}

TEST(LRRangeRanks, GiveTheResultOfOneOnAllTheData) {
  expect_the_result_of_one(
      maker_of<torch::optim::SGD>(torch::optim::SGDOptions(0.1).momentum(0.5)),
      short_test(),
      1e-9);
  expect_the_result_of_one(
      maker_of<ClippedSGD>(ClippedSGDOptions(0.1).max_norm(0.5)),
      short_test().accumulation_steps(2),
      1e-9);
}

TEST(LRRangeRanks, GiveTheSameWhileGradientsTravel) {
  const auto make =
      maker_of<torch::optim::SGD>(torch::optim::SGDOptions(0.1).momentum(0.5));
  const auto losses_of = [&](bool overlaps) {
    return on_ranks<std::vector<double>>(2, [&](const Ranks& ranks) {
      return range_test_of(ranks, make, short_test(), overlaps).losses;
    });
  };
  EXPECT_EQ(losses_of(true), losses_of(false));
}

TEST(LRRangeRanks, GiveItForAnOptimizerThatTakesTheGraph) {
  expect_the_result_of_one(
      maker_of<PowerMethodSGD>(PowerMethodSGDOptions()),
      short_test().end_lr(1).closure(LRClosure::kReturnsGraph),
      1e-9);
  expect_the_result_of_one(
      maker_of<AutoSGD>(AutoSGDOptions()),
      short_test().end_lr(1).closure(LRClosure::kReturnsGraph),
      1e-9);
}

TEST(LRRangeRanks, MeasureTheLimitOfTheMeanLoss) {
  const auto make = maker_of<torch::optim::SGD>(torch::optim::SGDOptions(0.1));
  const double limit =
      2 / at::linalg_eigvalsh(RankProblem().hessian()).max().item<double>();
  for (const auto closure :
       {LRClosure::kReturnsGraph, LRClosure::kCallsBackward}) {
    torch::manual_seed(1);
    const auto options =
        short_test().num_iterations(2).closure(closure).measure_max_stable_lr(
            true);
    const auto one = range_test_of(nullptr, make, options);
    const auto two = on_ranks<LRRangeTestResult>(2, [&](const Ranks& ranks) {
      return range_test_of(ranks, make, options);
    });
    ASSERT_TRUE(one.max_stable_lr.has_value());
    EXPECT_EQ(two[0].max_stable_lr, two[1].max_stable_lr);
    // The iteration ends where an eigenvalue is known to lie within 5 %.
    EXPECT_NEAR(*one.max_stable_lr, limit, 0.05 * limit);
    EXPECT_NEAR(*two[0].max_stable_lr, limit, 0.05 * limit);
  }
}

TEST(LRRangeRanks, EndWhereOneWantsToAndAverageTheValidation) {
  run_ranks(2, [](const Ranks& ranks) {
    auto weight = leaf({1});
    torch::optim::SGD sgd(std::vector<at::Tensor>{weight}, 0.1);
    const double own = ranks->rank() == 0 ? 1 : 3;
    const auto result = lr_range_test(
        TensorVector{weight},
        sgd,
        [&] {
          auto loss = weight.sum();
          loss.backward();
          return loss;
        },
        short_test()
            .reduction(ranks)
            .validation([own] { return torch::full({}, own); })
            .progress([&](int64_t i, double, double loss) {
              EXPECT_EQ(loss, 2);
              return ranks->rank() == 0 || i < 3;
            }));
    EXPECT_EQ(result.status, LRRangeStatus::kStopped);
    EXPECT_EQ(result.losses, std::vector<double>(4, 2.0));
  });
}

TEST(LRRangeRanks, LetOneShowABar) {
  run_ranks(2, [](const Ranks& ranks) {
    auto weight = leaf({1});
    torch::optim::SGD sgd(std::vector<at::Tensor>{weight}, 0.1);
    auto options = short_test().num_iterations(5).reduction(ranks);
    const auto test = [&] {
      return lr_range_test(
          TensorVector{weight},
          sgd,
          [&] {
            auto loss = weight.square().sum();
            loss.backward();
            return loss;
          },
          options);
    };
    int64_t calls = 0;
    if (ranks->rank() == 0) {
      options.progress([&](int64_t, double, double) { return ++calls < 3; });
    }
    EXPECT_EQ(test().losses.size(), 3);
    EXPECT_EQ(calls, ranks->rank() == 0 ? 3 : 0);
    // What changes the losses may not be on one alone.
    if (ranks->rank() == 0) {
      options.validation([] { return torch::ones({}); });
    }
    EXPECT_THAT(
        message_of(test), HasSubstr("LRRangeTest: rank 1: validation is "));
    EXPECT_EQ(ranks->mean(1), 1);
  });
}

TEST(LRRangeRanks, RefuseTogetherWhatOneWasGiven) {
  run_ranks(2, [](const Ranks& ranks) {
    auto weight = leaf({1});
    torch::optim::SGD sgd(std::vector<at::Tensor>{weight}, 0.1);
    const auto without = [&] {
      lr_range_test(
          TensorVector{weight},
          sgd,
          ranks->rank() == 0 ? LossClosure()
                             : LossClosure([&] { return weight.sum(); }),
          short_test().reduction(ranks));
    };
    EXPECT_THAT(message_of(without), HasSubstr("closure must not be empty"));
    EXPECT_EQ(ranks->mean(1), 1);
  });
}

TEST(LRRangeRanks, CarryOneThatHasNoExample) {
  for (const auto kind :
       {LRClosure::kCallsBackward, LRClosure::kReturnsGraph}) {
    run_ranks(2, [kind](const Ranks& ranks) {
      const auto test = [&](bool any) {
        auto weight = leaf({1});
        torch::optim::SGD sgd(std::vector<at::Tensor>{weight}, 0.1);
        return lr_range_test(
            TensorVector{weight},
            sgd,
            [&] {
              if (!any || ranks->rank() == 1) {
                return torch::zeros({}, torch::kFloat64);
              }
              auto loss = 2 * weight.square().sum();
              if (kind == LRClosure::kCallsBackward) loss.backward();
              return loss;
            },
            short_test().num_iterations(2).closure(kind).reduction(ranks));
      };
      // The mean loss is w^2 with w = 1, and 0.998 after a rate of 0.001.
      const auto losses = test(true).losses;
      EXPECT_NEAR(losses[0], 1, 1e-15);
      EXPECT_NEAR(losses[1], 0.998 * 0.998, 1e-12);
      EXPECT_THAT(
          message_of([&] { test(false); }),
          HasSubstr(
              kind == LRClosure::kCallsBackward ? "left no gradient"
                                                : "without a graph"));
    });
  }
}

TEST(LRRangeRanks, TakeTheReductionOfTheOptimizerAndLeaveIt) {
  run_ranks(2, [](const Ranks& ranks) {
    auto weight = leaf({1});
    const double own = ranks->rank() == 0 ? 1 : 3;
    ClippedSGD sgd(std::vector<at::Tensor>{weight}, ClippedSGDOptions(0.1));
    sgd.set_reduction(ranks);
    const auto result = lr_range_test(
        TensorVector{weight},
        sgd,
        [&] {
          auto loss = (weight * own).sum();
          loss.backward();
          return loss;
        },
        short_test().num_iterations(2));
    EXPECT_EQ(result.losses[0], 2);
    EXPECT_EQ(sgd.reduction(), ranks);
  });
}

TEST(LRRangeRanks, StopAtTheNaNOfOneAndThrowTheErrorOfOne) {
  run_ranks(2, [](const Ranks& ranks) {
    auto weight = leaf({1});
    torch::optim::SGD sgd(std::vector<at::Tensor>{weight}, 0.1);
    int calls = 0;
    const auto test = [&](const std::function<torch::Tensor()>& last) {
      calls = 0;
      return lr_range_test(
          TensorVector{weight},
          sgd,
          [&] {
            auto loss = weight.square().sum();
            loss.backward();
            return ++calls == 4 && ranks->rank() == 1 ? last() : loss;
          },
          short_test().reduction(ranks));
    };
    const auto result = test([] { return torch::full({}, kNaN); });
    EXPECT_EQ(result.status, LRRangeStatus::kNonFinite);
    EXPECT_EQ(result.losses.size(), 4);
    const auto throwing = [&] {
      test([]() -> torch::Tensor { throw std::out_of_range("no batch left"); });
    };
    if (ranks->rank() == 1) {
      EXPECT_THROW(throwing(), std::out_of_range);
    } else {
      EXPECT_EQ(message_of(throwing), "rank 1 failed: no batch left");
    }
    EXPECT_EQ(weight.item<double>(), 1);
  });
}

// The noise scale after some updates of two micro-batches a rank, or of four.
NoiseScale rank_noise(const Ranks& ranks, bool overlaps = false) {
  RankProblem problem;
  std::shared_ptr<OverlappedReduction> overlapped;
  if (overlaps) {
    overlapped =
        std::make_shared<OverlappedReduction>(ranks, problem.parameters());
  }
  torch::optim::SGD sgd(problem.parameters(), 0.1);
  GradientNoiseScale noise(sgd, GradientNoiseScaleOptions(2));
  const int64_t parts = ranks ? 2 : 4;
  const int64_t first = ranks ? 2 * ranks->rank() : 0;
  for (int update = 0; update < 5; ++update) {
    problem.clear_gradients();
    noise.begin_update();
    for (int64_t part = first; part < first + parts; ++part) {
      (problem.loss(2 * part, 2) / parts).backward();
      noise.add_micro_batch();
    }
    const double factor = 1 / static_cast<double>(parts);
    EXPECT_TRUE(
        overlaps ? noise.finish_update(*overlapped, factor)
        : ranks  ? noise.finish_update(*ranks, factor)
                 : noise.finish_update(factor));
    sgd.step();
  }
  if (overlaps) {
    EXPECT_GE(overlapped->sent_early(), 5);
  }
  return noise.total();
}

TEST(NoiseScaleRanks, GiveTheNumbersOfOneWithAllMicroBatches) {
  const NoiseScale one = rank_noise(nullptr);
  const auto two = on_ranks<NoiseScale>(
      2, [](const Ranks& ranks) { return rank_noise(ranks); });
  EXPECT_EQ(one.updates, 5);
  EXPECT_EQ(two[0].value, two[1].value);
  for (const NoiseScale& noise : two) {
    EXPECT_EQ(noise.updates, 5);
    EXPECT_NEAR(noise.gradient_square, one.gradient_square, 1e-10);
    EXPECT_NEAR(noise.noise_trace, one.noise_trace, 1e-10);
    EXPECT_NEAR(noise.value, one.value, 1e-8 * std::abs(one.value));
  }
}

TEST(NoiseScaleRanks, GiveTheSameWhileGradientsTravel) {
  const auto after = on_ranks<NoiseScale>(
      2, [](const Ranks& ranks) { return rank_noise(ranks); });
  const auto during = on_ranks<NoiseScale>(
      2, [](const Ranks& ranks) { return rank_noise(ranks, true); });
  for (std::size_t rank = 0; rank < 2; ++rank) {
    EXPECT_EQ(during[rank].value, after[rank].value);
    EXPECT_EQ(during[rank].noise_trace, after[rank].noise_trace);
  }
}

TEST(NoiseScaleRanks, NeedOneMicroBatchEach) {
  run_ranks(3, [](const Ranks& ranks) {
    auto weight = leaf({0, 0});
    GradientNoiseScale noise(
        std::vector<std::vector<at::Tensor>>{{weight}},
        GradientNoiseScaleOptions(1));
    // The gradients (3, 1) and (1, 1), as one rank has no example:
    // |G|^2 = 4 and tr S = 2.
    noise.begin_update();
    if (ranks->rank() != 2) {
      weight.mutable_grad() =
          torch::tensor({ranks->rank() == 0 ? 3.0 : 1.0, 1.0}, torch::kFloat64);
      noise.add_micro_batch();
    }
    EXPECT_TRUE(noise.finish_update(*ranks));
    EXPECT_NEAR(noise.total().gradient_square, 4, 1e-12);
    EXPECT_NEAR(noise.total().noise_trace, 2, 1e-12);
    EXPECT_NEAR(weight.grad()[0].item<double>(), 4.0 / 3, 1e-15);

    weight.mutable_grad() = torch::full({2}, 1.0, torch::kFloat64);
    noise.begin_update();
    if (ranks->rank() == 1) noise.add_micro_batch();
    EXPECT_FALSE(noise.finish_update(*ranks));
    EXPECT_EQ(noise.short_updates(), 1);
  });
}

TEST(NoiseScaleRanks, GoByWhatTheyHaveSeen) {
  run_ranks(3, [](const Ranks& ranks) {
    auto weight = leaf({0, 0});
    GradientNoiseScale noise(
        std::vector<std::vector<at::Tensor>>{{weight}},
        GradientNoiseScaleOptions(1));
    weight.mutable_grad() =
        torch::tensor({ranks->rank() == 0 ? 3.0 : 1.0, 1.0}, torch::kFloat64);
    // Clipped on rank 0, and left over on rank 2, which has no example.
    noise.begin_update();
    if (ranks->rank() != 2) noise.add_micro_batch();
    if (ranks->rank() == 0) weight.mutable_grad().mul_(0.5);
    EXPECT_TRUE(noise.finish_update(*ranks));
    EXPECT_NEAR(noise.total().gradient_square, 4, 1e-12);
    EXPECT_NEAR(noise.total().noise_trace, 2, 1e-12);
    EXPECT_NEAR(weight.grad()[0].item<double>(), 3.5 / 3, 1e-15);
    EXPECT_NEAR(weight.grad()[1].item<double>(), 2.5 / 3, 1e-15);
  });
}

TEST(NoiseScaleRanks, LeaveOutTheUpdateOfANaNAndRefuseTogether) {
  run_ranks(2, [](const Ranks& ranks) {
    auto weight = leaf({0});
    GradientNoiseScale noise(
        std::vector<std::vector<at::Tensor>>{{weight}},
        GradientNoiseScaleOptions(1));
    weight.mutable_grad() =
        torch::full({1}, ranks->rank() == 0 ? kNaN : 1.0, torch::kFloat64);
    noise.begin_update();
    noise.add_micro_batch();
    EXPECT_FALSE(noise.finish_update(*ranks));
    EXPECT_THAT(
        message_of([&] {
          if (ranks->rank() == 1) noise.begin_update();
          noise.finish_update(*ranks);
        }),
        HasSubstr("finish_update() outside an update"));
    EXPECT_EQ(noise.non_finite_updates(), 1);
    EXPECT_THAT(
        message_of([&] {
          noise.finish_update(*ranks, ranks->rank() == 0 ? 0.0 : 1.0);
        }),
        HasSubstr("factor must be finite and > 0, got 0"));
    auto blind = GradientNoiseScale::of_ranks(1, 1);
    EXPECT_THAT(
        message_of([&] { blind.finish_update(*ranks); }),
        HasSubstr("use add_ranks()"));
  });
}

}  // namespace
}  // namespace stepsize
