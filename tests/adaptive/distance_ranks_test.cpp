// Methods that estimate a rate or a distance, where several ranks train one
// model: each rank has a share of the examples, and all go the way of one
// process that has all of them.

#include <gtest/gtest.h>
#include <stepsize/adaptive/dadapt_adam.h>
#include <stepsize/adaptive/dog.h>
#include <stepsize/adaptive/hypergradient_adam.h>
#include <stepsize/adaptive/hypergradient_sgd.h>
#include <stepsize/adaptive/prodigy.h>
#include <stepsize/distributed/reduction.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "tests/adaptive/fused_checks.h"
#include "tests/support/rank_problem.h"
#include "tests/support/ranks.h"

namespace stepsize::test {
namespace {

// What each of two and of three ranks can have the same share of.
constexpr int64_t kSharedExamples = 6;

// Estimates after each update, and the parameters after the last one.
struct RankPath {
  std::vector<double> estimates;
  std::vector<double> point;
};

template <typename Optimizer, typename Options, typename Look>
RankPath ranks_path(
    const Options& options,
    const Look& look,
    const std::shared_ptr<Reduction>& ranks) {
  RankProblem problem;
  const auto& all = problem.parameters();
  std::vector<torch::optim::OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<torch::Tensor>{all[0], all[1]});
  groups.emplace_back(std::vector<torch::Tensor>{all[2], all[3]});
  Optimizer optimizer(groups, options);
  optimizer.set_reduction(ranks);
  const int64_t world = ranks == nullptr ? 1 : ranks->world_size();
  const int64_t share = kSharedExamples / world;
  const int64_t first = ranks == nullptr ? 0 : share * ranks->rank();
  RankPath path;
  for (int step = 0; step < 40; ++step) {
    optimizer.step([&] { return problem.loss_and_gradients(first, share); });
    for (const double number : look(optimizer)) {
      path.estimates.push_back(number);
    }
  }
  path.point = fused_numbers(problem.point());
  return path;
}

// Of two and of three ranks: all alike to the bit, and like one process to 1e-9
// of a number, which is what the means' rounding grows to in 40 updates.
template <typename Optimizer, typename Options, typename Look>
void expect_ranks_go_as_one(const Options& options, const Look& look) {
  const auto run = [&](const std::shared_ptr<Reduction>& ranks) {
    return ranks_path<Optimizer>(options, look, ranks);
  };
  const RankPath one = run(nullptr);
  EXPECT_GT(
      fused_difference(one.point, fused_numbers(RankProblem().point())), 0.1);
  // An estimate that stays what it was at first would be alike by itself.
  EXPECT_NE(one.estimates.front(), one.estimates.back());
  for (const int64_t world : {2, 3}) {
    const auto paths = on_ranks<RankPath>(world, run);
    for (const RankPath& path : paths) {
      EXPECT_EQ(path.estimates, paths[0].estimates) << world;
      EXPECT_EQ(path.point, paths[0].point) << world;
    }
    EXPECT_LT(fused_difference(paths[0].point, one.point), 1e-9) << world;
    ASSERT_EQ(paths[0].estimates.size(), one.estimates.size());
    for (std::size_t i = 0; i < one.estimates.size(); ++i) {
      const double number = one.estimates[i];
      EXPECT_NEAR(paths[0].estimates[i], number, 1e-9 * std::abs(number))
          << world << " " << i;
    }
  }
}

template <typename Optimizer>
std::vector<double> distances_of(const Optimizer& optimizer) {
  return {optimizer.d(), optimizer.last_d()};
}

template <typename Optimizer>
std::vector<double> rates_of(const Optimizer& optimizer) {
  return {optimizer.current_lr(0), optimizer.current_lr(1)};
}

std::vector<double> blocks_of(const DoG& optimizer) {
  std::vector<double> numbers;
  for (const std::size_t group : {0U, 1U}) {
    for (const std::size_t index : {0U, 1U}) {
      numbers.push_back(optimizer.max_distance(group, index));
      numbers.push_back(optimizer.squared_gradients(group, index));
      numbers.push_back(optimizer.current_lr(group, index));
    }
  }
  return numbers;
}

TEST(ProdigyOnRanks, EstimatesAsOneWithAllExamples) {
  expect_ranks_go_as_one<Prodigy>(
      ProdigyOptions().d0(1e-2), distances_of<Prodigy>);
}

TEST(DAdaptAdamOnRanks, EstimatesAsOneWithAllExamples) {
  expect_ranks_go_as_one<DAdaptAdam>(
      DAdaptAdamOptions().d0(1e-2), distances_of<DAdaptAdam>);
}

TEST(DoGOnRanks, EstimatesAsOneWithAllExamples) {
  expect_ranks_go_as_one<DoG>(DoGOptions().reps_rel(0.01), blocks_of);
}

TEST(DoGOnRanks, EstimatesEachLayerAsOneWithAllExamples) {
  expect_ranks_go_as_one<DoG>(
      DoGOptions().reps_rel(0.01).layer_wise(true), blocks_of);
}

TEST(HypergradientSGDOnRanks, LearnsAsOneWithAllExamples) {
  expect_ranks_go_as_one<HypergradientSGD>(
      HypergradientSGDOptions(0.05).hypergrad_lr(0.01).momentum(0.5),
      rates_of<HypergradientSGD>);
  expect_ranks_go_as_one<HypergradientSGD>(
      HypergradientSGDOptions(0.05).hypergrad_lr(0.02).form(
          HypergradientForm::kMultiplicative),
      rates_of<HypergradientSGD>);
}

TEST(HypergradientAdamOnRanks, LearnsAsOneWithAllExamples) {
  expect_ranks_go_as_one<HypergradientAdam>(
      HypergradientAdamOptions(0.01).hypergrad_lr(1e-4),
      rates_of<HypergradientAdam>);
  expect_ranks_go_as_one<HypergradientAdam>(
      HypergradientAdamOptions(0.01).hypergrad_lr(0.02).form(
          HypergradientForm::kMultiplicative),
      rates_of<HypergradientAdam>);
}

}  // namespace
}  // namespace stepsize::test
