#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/torch.h>

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/error_text.h"
#include "tests/support/leaf.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;
using torch::optim::OptimizerParamGroup;

void set_gradient(torch::Tensor& parameter, double value) {
  parameter.mutable_grad() = torch::full_like(parameter, value);
}

TEST(ParameterIdentity, StateFollowsTheParameterAndNotItsPlace) {
  auto x = leaf({1});
  auto y = leaf({1});
  auto alone = leaf({1});
  ClippedAdamW adam({x, y}, ClippedAdamWOptions(0.1));
  ClippedAdamW reference({alone}, ClippedAdamWOptions(0.1));
  const auto step = [&] {
    set_gradient(x, 0.5);
    set_gradient(y, 1e-3);
    set_gradient(alone, 1e-3);
    adam.step();
    reference.step();
  };
  for (int i = 0; i < 5; ++i) step();
  auto& parameters = adam.param_groups()[0].params();
  std::swap(parameters[0], parameters[1]);
  for (int i = 0; i < 5; ++i) step();
  parameters.erase(parameters.begin() + 1);
  for (int i = 0; i < 5; ++i) step();
  EXPECT_EQ(y.item<double>(), alone.item<double>());
  adam.param_groups().emplace_back(
      std::vector<torch::Tensor>{y}, adam.defaults().clone());
  adam.param_groups()[0].params() = {x};
  for (int i = 0; i < 5; ++i) step();
  EXPECT_EQ(y.item<double>(), alone.item<double>());
}

TEST(ParameterIdentity, ARollbackPutsParametersBackWhereverTheyStand) {
  auto x = leaf({1});
  auto y = leaf({2, 3});
  RollbackSGD sgd(
      {x, y}, RollbackSGDOptions(0.5).rollback(RollbackOptions::every_step()));
  const auto step = [&](double gradient) {
    set_gradient(x, gradient);
    set_gradient(y, gradient);
    sgd.step();
  };
  step(1);
  auto& parameters = sgd.param_groups()[0].params();
  std::swap(parameters[0], parameters[1]);
  step(100);
  ASSERT_EQ(sgd.last_status(), RollbackStatus::kRolledBack);
  EXPECT_EQ(x.item<double>(), 0.75);
  EXPECT_TRUE(torch::equal(y, leaf({1.75, 2.75})));
  parameters.erase(parameters.begin());
  step(100);
  ASSERT_EQ(sgd.last_status(), RollbackStatus::kRolledBack);
  // As before it, and on with a quarter of the rate.
  EXPECT_EQ(x.item<double>(), 0.875);
}

TEST(ParameterIdentity, ASecondPlaceIsRefusedHoweverItCame) {
  auto x = leaf({1});
  ClippedSGD sgd({x}, 0.1);
  torch::optim::Optimizer& base = sgd;
  base.add_param_group(OptimizerParamGroup({x}));
  set_gradient(x, 1);
  EXPECT_THAT(
      message_of([&] { sgd.step(); }),
      HasSubstr("ClippedSGD: a parameter may stand in one place only"));
  EXPECT_EQ(x.item<double>(), 1);
}

TEST(ParameterIdentity, AGroupWithoutOptionsMustAgreeToo) {
  auto x = leaf({1});
  auto y = leaf({1});
  ClippedSGD sgd({x}, 0.1);
  static_cast<ClippedSGDOptions&>(sgd.param_groups()[0].options()).max_norm(5);
  EXPECT_THAT(
      message_of([&] { sgd.add_param_group(OptimizerParamGroup({y})); }),
      HasSubstr("max_norm must be the same in all parameter groups"));
  EXPECT_EQ(sgd.param_groups().size(), 1U);
}

// Two groups, of which the second one's gradient does not fit: LibTorch checks
// what is assigned, but not what a later conversion leaves.
template <typename Optimizer, typename Options>
void expect_nothing_moved(const Options& options, const std::string& kind) {
  auto x = torch::ones({2}, torch::requires_grad());
  auto y = torch::ones({2}, torch::requires_grad());
  std::vector<OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<torch::Tensor>{x});
  groups.emplace_back(std::vector<torch::Tensor>{y});
  Optimizer optimizer(groups, options);
  const auto expect_refused = [&](const std::string& text) {
    x.mutable_grad() = torch::ones({2});
    EXPECT_THAT(
        message_of([&] { optimizer.step(); }),
        testing::AllOf(HasSubstr(kind + ": "), HasSubstr(text)));
    EXPECT_TRUE(torch::equal(x, torch::ones({2}))) << text;
  };
  y.mutable_grad() = torch::ones({2}).to_sparse();
  expect_refused("gradients must be dense");
  y.mutable_grad() = torch::ones({2});
  y.grad().set_data(torch::ones({3}));
  expect_refused("of its parameter's shape");
  y.mutable_grad() = torch::ones({2});
  y.grad().set_data(torch::ones({2}, torch::kFloat64));
  expect_refused("of its parameter's type");
}

TEST(GradientChecks, RefuseBeforeAnyGroupHasMoved) {
  expect_nothing_moved<ClippedSGD>(
      ClippedSGDOptions(0.1).momentum(0.9), "ClippedSGD");
  expect_nothing_moved<ClippedAdamW>(ClippedAdamWOptions(0.1), "ClippedAdamW");
  expect_nothing_moved<RollbackSGD>(RollbackSGDOptions(0.1), "RollbackSGD");
}

TEST(GradientChecks, LeaveCountersAndTheRuleAsTheyWere) {
  auto x = torch::ones({2}, torch::requires_grad());
  ClippedSGD clipped({x}, ClippedSGDOptions(0.1).max_norm(0.1));
  RollbackSGD rollback({x}, RollbackSGDOptions(0.1));
  x.mutable_grad() = torch::ones({2}).to_sparse();
  EXPECT_THROW(clipped.step(), c10::Error);
  EXPECT_THROW(rollback.step(), c10::Error);
  EXPECT_EQ(clipped.clipped_steps(), 0);
  EXPECT_TRUE(std::isnan(clipped.last_grad_norm()));
  EXPECT_FALSE(rollback.rule().state().has_point);
  EXPECT_EQ(rollback.rule().state().age, 0);
}

TEST(GradientChecks, TellThatAConversionWantsANewOptimizer) {
  torch::nn::Linear first(2, 2);
  torch::nn::Linear second(2, 2);
  std::vector<OptimizerParamGroup> groups;
  groups.emplace_back(first->parameters());
  groups.emplace_back(second->parameters());
  ClippedSGD sgd(groups, ClippedSGDOptions(0.1).momentum(0.9));
  const auto train = [&] {
    for (auto& group : sgd.param_groups()) {
      for (auto& parameter : group.params()) parameter.mutable_grad().reset();
    }
    const auto middle = first->forward(torch::ones({1, 2}));
    second->forward(middle.to(second->weight.scalar_type())).sum().backward();
  };
  train();
  sgd.step();
  second->to(torch::kFloat64);
  train();
  const auto before = first->weight.detach().clone();
  EXPECT_THAT(
      message_of([&] { sgd.step(); }),
      HasSubstr("is no longer what its momentum_buffer was made for"));
  EXPECT_TRUE(torch::equal(first->weight, before));
}

TEST(GradientChecks, RefuseAParameterThatOverlapsItself) {
  auto x = leaf({1});
  auto y = torch::ones({1}).expand({3}).requires_grad_(true);
  ClippedSGD sgd({x, y}, 0.1);
  set_gradient(x, 1);
  y.mutable_grad() = torch::ones({3});
  EXPECT_THAT(
      message_of([&] { sgd.step(); }), HasSubstr("must not overlap itself"));
  EXPECT_EQ(x.item<double>(), 1);
}

}  // namespace
}  // namespace stepsize::test
