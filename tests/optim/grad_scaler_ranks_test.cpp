// GradScaler where several ranks train one model.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/distributed/reduction.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/grad_scaler.h>
#include <stepsize/optim/lion.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>

#include <memory>
#include <stdexcept>
#include <vector>

#include "tests/support/error_text.h"
#include "tests/support/numbers.h"
#include "tests/support/rank_problem.h"
#include "tests/support/ranks.h"

namespace stepsize {
namespace {

using test::kNaN;
using test::message_of;
using test::on_ranks;
using test::RankProblem;
using test::run_ranks;
using testing::HasSubstr;

using ScalerRanks = std::shared_ptr<Reduction>;

struct ScaledRun {
  torch::Tensor point;
  std::vector<double> losses;
  double scale = 0;
  int64_t skipped = 0;
};

// Twelve updates, of which the fifth overflows on the last rank.
template <typename Optimizer, typename Options>
ScaledRun scaled_run(const ScalerRanks& ranks, const Options& options) {
  RankProblem problem;
  Optimizer optimizer(problem.parameters(), options);
  if (ranks != nullptr) optimizer.set_reduction(ranks);
  GradScaler scaler(GradScalerOptions().init_scale(64).growth_interval(4));
  const int64_t count = ranks == nullptr ? 8 : 8 / ranks->world_size();
  const int64_t first = ranks == nullptr ? 0 : ranks->rank() * count;
  const bool is_last =
      ranks == nullptr || ranks->rank() == ranks->world_size() - 1;
  ScaledRun run;
  for (int i = 0; i < 12; ++i) {
    const auto loss = scaler.step(optimizer, [&] {
      problem.clear_gradients();
      auto own = problem.loss(first, count);
      scaler.scale(own * (i == 4 && is_last ? kNaN : 1)).backward();
      return own;
    });
    scaler.update();
    run.losses.push_back(loss.template item<double>());
  }
  run.point = problem.point();
  run.scale = scaler.scale();
  run.skipped = scaler.skipped_steps();
  return run;
}

template <typename Optimizer, typename Options>
void expect_scaled_ranks_like_one(const Options& options) {
  const ScaledRun one = scaled_run<Optimizer>(nullptr, options);
  EXPECT_EQ(one.skipped, 1);
  EXPECT_EQ(one.scale, 64 * 2 / 2 * 2);
  const auto runs = on_ranks<ScaledRun>(2, [&](const ScalerRanks& ranks) {
    return scaled_run<Optimizer>(ranks, options);
  });
  EXPECT_TRUE(runs[0].point.equal(runs[1].point));
  for (const ScaledRun& run : runs) {
    EXPECT_TRUE(run.point.allclose(one.point, 1e-9, 1e-9));
    EXPECT_EQ(run.skipped, 1);
    EXPECT_EQ(run.scale, one.scale);
    for (std::size_t i = 0; i < one.losses.size(); ++i) {
      EXPECT_NEAR(run.losses[i], one.losses[i], 1e-9) << i;
    }
  }
}

TEST(GradScalerRanks, LeaveAStepOutTogether) {
  expect_scaled_ranks_like_one<ClippedSGD>(
      ClippedSGDOptions(0.1).momentum(0.9).max_norm(0.5));
  expect_scaled_ranks_like_one<Lion>(LionOptions(0.01));
}

// LibTorch's optimizers know of no ranks.
TEST(GradScalerRanks, AgreeByAReductionOfTheScaler) {
  run_ranks(2, [](const ScalerRanks& ranks) {
    auto w = torch::ones({2}, torch::kDouble);
    torch::optim::SGD sgd({w}, torch::optim::SGDOptions(0.5));
    ClippedSGD clipped(std::vector<torch::Tensor>{w}, ClippedSGDOptions(0.5));
    GradScaler scaler;
    scaler.set_reduction(ranks);
    for (torch::optim::Optimizer* optimizer :
         std::vector<torch::optim::Optimizer*>{&sgd, &clipped}) {
      w.mutable_grad() =
          torch::full({2}, ranks->rank() == 1 ? kNaN : 1.0, torch::kDouble);
      scaler.step(*optimizer);
      EXPECT_EQ(scaler.skipped_steps(*optimizer), 1);
    }
    scaler.update();
    EXPECT_EQ(scaler.scale(), 32768);
    EXPECT_EQ(w[0].item<double>(), 1);
    w.mutable_grad() = torch::full({2}, 32768.0, torch::kDouble);
    scaler.step(sgd);
    EXPECT_EQ(w[0].item<double>(), 0.5);
  });
}

TEST(GradScalerRanks, ThrowTogetherAndMayTryAgain) {
  run_ranks(2, [](const ScalerRanks& ranks) {
    RankProblem problem;
    Lion lion(problem.parameters(), LionOptions(0.01));
    lion.set_reduction(ranks);
    GradScaler scaler;
    const auto before = problem.point();
    const auto step = [&](bool breaks) {
      scaler.step(lion, [&] {
        if (breaks && ranks->rank() == 1) {
          throw std::runtime_error("no such file");
        }
        problem.clear_gradients();
        auto loss = problem.loss(ranks->rank() * 4, 4);
        scaler.scale(loss).backward();
        return loss;
      });
    };
    if (ranks->rank() == 1) {
      EXPECT_THROW(step(true), std::runtime_error);
    } else {
      EXPECT_THAT(
          message_of([&] { step(true); }),
          HasSubstr("rank 1 failed: no such file"));
    }
    EXPECT_TRUE(problem.point().equal(before));
    step(false);
    scaler.update();
    EXPECT_FALSE(problem.point().equal(before));
  });
}

}  // namespace
}  // namespace stepsize
