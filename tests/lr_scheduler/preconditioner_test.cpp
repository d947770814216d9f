#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/lion.h>
#include <stepsize/state/preconditioner.h>
#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;
using torch::optim::Adagrad;
using torch::optim::AdagradOptions;
using torch::optim::Adam;
using torch::optim::AdamOptions;
using torch::optim::AdamW;
using torch::optim::AdamWOptions;
using torch::optim::Optimizer;
using torch::optim::OptimizerParamGroup;
using torch::optim::RMSprop;
using torch::optim::RMSpropOptions;

using List = std::vector<torch::Tensor>;

const auto kBetas = std::make_tuple(0.75, 0.5);

// The P that an update had, from where it went. With a momentum of zero that is
// lr g / P, g with the coupled decay.
torch::Tensor divisor_of_step(
    Optimizer& optimizer,
    const torch::Tensor& x,
    const torch::Tensor& gradient,
    double decay) {
  const auto before = x.detach().clone();
  x.mutable_grad() = gradient;
  optimizer.step();
  const double lr = optimizer.param_groups()[0].options().get_lr();
  return lr * (gradient + decay * before) / (before - x.detach());
}

// Gradients of several sizes, falling and growing again.
torch::Tensor gradient_at(int step) {
  return vector_of({1, -20, 0.3}) * (1.5 + std::cos(2.0 * step));
}

struct Rule {
  std::string name;
  std::function<std::unique_ptr<Optimizer>(const List&)> make;
  double decay = 0;
  double factor = 1;
};

class PreconditionerOf : public testing::TestWithParam<Rule> {};

// LibTorch's own steps say what it has divided by.
TEST_P(PreconditionerOf, IsWhatTheStepDividesBy) {
  const Rule& rule = GetParam();
  const auto x = leaf({1, -2, 3});
  const auto optimizer = rule.make({x});
  for (int step = 0; step < 6; ++step) {
    const auto gradient = gradient_at(step);
    const auto coming = coming_preconditioner(*optimizer, {gradient});
    ASSERT_EQ(coming.diagonal.size(), 1U);
    EXPECT_EQ(coming.step, step + 1);
    const auto again = coming_preconditioner(*optimizer, {gradient});
    EXPECT_TRUE(torch::equal(coming.diagonal[0], again.diagonal[0]));
    const auto divisor = divisor_of_step(*optimizer, x, gradient, rule.decay);
    EXPECT_TRUE(torch::allclose(coming.diagonal[0], divisor, 1e-7, 0))
        << step << coming.diagonal[0] << divisor;
    EXPECT_EQ(coming.decay, std::vector<double>{rule.decay});
  }
}

template <typename Class, typename Options>
Rule rule(const std::string& name, const Options& options, double decay = 0) {
  return {
      name,
      [options](const List& list) {
        return std::make_unique<Class>(list, options);
      },
      decay};
}

// Without a first momentum, whose bias correction is 1 then.
const auto kNoMomentum = std::make_tuple(0.0, 0.5);

INSTANTIATE_TEST_SUITE_P(
    All,
    PreconditionerOf,
    testing::Values(
        rule<Adam>("Adam", AdamOptions(0.1).betas(kNoMomentum)),
        rule<Adam>(
            "AdamAmsgrad", AdamOptions(0.1).betas(kNoMomentum).amsgrad(true)),
        rule<Adam>(
            "AdamDecay",
            AdamOptions(0.1).betas(kNoMomentum).weight_decay(0.5),
            0.5),
        rule<Adam>("AdamEps", AdamOptions(0.1).betas(kNoMomentum).eps(3)),
        rule<AdamW>(
            "AdamW", AdamWOptions(0.1).betas(kNoMomentum).weight_decay(0)),
        rule<ClippedAdamW>(
            "ClippedAdamW",
            ClippedAdamWOptions(0.1)
                .betas(kNoMomentum)
                .weight_decay(0)
                .max_norm(kInfinity)
                .amsgrad(true)),
        rule<ClippedAdamW>(
            "ClippedAdamWThatClips",
            ClippedAdamWOptions(0.1)
                .betas(kNoMomentum)
                .weight_decay(0)
                .max_norm(25)),
        rule<RMSprop>("RMSprop", RMSpropOptions(0.1).alpha(0.5)),
        rule<RMSprop>(
            "RMSpropCentered", RMSpropOptions(0.1).alpha(0.5).centered(true)),
        rule<RMSprop>(
            "RMSpropDecay", RMSpropOptions(0.1).alpha(0.5).weight_decay(2), 2),
        rule<Adagrad>("Adagrad", AdagradOptions(0.1)),
        rule<Adagrad>(
            "AdagradOptions",
            AdagradOptions(0.1)
                .lr_decay(0.5)
                .initial_accumulator_value(2)
                .weight_decay(0.25),
            0.25)),
    [](const auto& one) { return one.param.name; });

// (1 - beta1) (|g| + eps): of v' = (1 - beta2) g^2, corrected.
TEST(Preconditioner, OfTheFirstStepByHand) {
  const auto x = leaf({1, 2});
  Adam adam(List{x}, AdamOptions(0.1).betas(kBetas).eps(0.5));
  const auto coming = coming_preconditioner(adam, {vector_of({4, -8})});
  EXPECT_TRUE(torch::allclose(coming.diagonal[0], vector_of({1.125, 2.125})));
  EXPECT_EQ(coming.step, 1);
  EXPECT_TRUE(adam.state().empty());
}

// v: 0.5, then 0.25 + 2 = 2.25; corrected by 1 - 0.25. beta1: 1 - 0.75^2.
TEST(Preconditioner, OfTheSecondStepByHand) {
  const auto x = leaf({1});
  Adam adam(List{x}, AdamOptions(0.1).betas(kBetas).eps(0));
  x.mutable_grad() = vector_of({1});
  adam.step();
  const auto coming = coming_preconditioner(adam, {vector_of({2})});
  EXPECT_NEAR(
      coming.diagonal[0].item<double>(),
      0.4375 * std::sqrt(2.25 / 0.75),
      1e-12);
}

// The largest v so far is 8, of the first step, and stays.
TEST(Preconditioner, OfAmsgradByHand) {
  const auto x = leaf({1});
  Adam adam(List{x}, AdamOptions(0.1).betas(kBetas).eps(0).amsgrad(true));
  x.mutable_grad() = vector_of({4});
  adam.step();
  const auto coming = coming_preconditioner(adam, {vector_of({0})});
  EXPECT_NEAR(
      coming.diagonal[0].item<double>(), 0.4375 * std::sqrt(8 / 0.75), 1e-12);
}

// Mean of squares 0.5 * 0.5 + 0.5 * 9 = 4.75, of gradients 0.25 + 1.5 = 1.75.
TEST(Preconditioner, OfCenteredRMSpropByHand) {
  const auto x = leaf({1});
  RMSprop rmsprop(
      List{x}, RMSpropOptions(0.1).alpha(0.5).eps(0.25).centered(true));
  x.mutable_grad() = vector_of({1});
  rmsprop.step();
  const auto coming = coming_preconditioner(rmsprop, {vector_of({3})});
  EXPECT_NEAR(
      coming.diagonal[0].item<double>(),
      std::sqrt(4.75 - 1.75 * 1.75) + 0.25,
      1e-12);
}

// The gradient (3, 4) of two groups is cut to a length of 1: a fifth of it.
TEST(Preconditioner, OfAClippedGradientByHand) {
  const auto x = leaf({1});
  const auto y = leaf({1});
  ClippedAdamW adam(
      std::vector<OptimizerParamGroup>{
          OptimizerParamGroup(List{x}), OptimizerParamGroup(List{y})},
      ClippedAdamWOptions(0.1).betas(kBetas).eps(0.5).max_norm(1));
  const auto coming =
      coming_preconditioner(adam, {vector_of({3}), vector_of({4})});
  EXPECT_NEAR(coming.diagonal[0].item<double>(), 5 * 0.25 * 1.1, 1e-12);
  EXPECT_NEAR(coming.diagonal[1].item<double>(), 5 * 0.25 * 1.3, 1e-12);
}

TEST(Preconditioner, AParameterWithoutAGradientRests) {
  const auto x = leaf({1});
  const auto frozen = torch::ones({3}, torch::kFloat64);
  const auto y = leaf({1, 2});
  Adam adam(List{x, frozen, y}, AdamOptions(0.1).betas(kBetas));
  y.mutable_grad() = vector_of({1, 1});
  adam.step();
  const auto coming =
      coming_preconditioner(adam, {torch::Tensor(), vector_of({1, 1})});
  ASSERT_EQ(coming.diagonal.size(), 2U);
  EXPECT_FALSE(coming.diagonal[0].defined());
  EXPECT_TRUE(torch::allclose(coming.diagonal[1], vector_of({0.4375, 0.4375})));
  EXPECT_EQ(coming.step, 2);
  // Steps are a parameter's own.
  const auto other =
      coming_preconditioner(adam, {vector_of({2}), torch::Tensor()});
  EXPECT_NEAR(other.diagonal[0].item<double>(), 0.5, 1e-6);
  EXPECT_EQ(other.step, 1);
  // And that of the youngest is told.
  const auto both =
      coming_preconditioner(adam, {vector_of({2}), vector_of({1, 1})});
  EXPECT_EQ(both.step, 1);
  EXPECT_EQ(coming_preconditioner(adam, List(2)).step, 0);
}

TEST(Preconditioner, IsOfSinglePrecisionForHalfParameters) {
  const auto x = torch::ones({1}, torch::kBFloat16).set_requires_grad(true);
  ClippedAdamW adam(
      List{x}, ClippedAdamWOptions(0.1).betas(kBetas).max_norm(1e9));
  const auto coming =
      coming_preconditioner(adam, {torch::full({1}, 1e-3, torch::kBFloat16)});
  EXPECT_EQ(coming.diagonal[0].scalar_type(), torch::kFloat);
  EXPECT_NEAR(coming.diagonal[0].item<double>(), 0.25e-3, 1e-6);
}

class UsersAdam : public Adam {
 public:
  using Adam::Adam;
};

TEST(Preconditioner, OfADescribedSubclassIsThatOfItsBase) {
  describe_optimizer(find_traits(AdamOptions(0))->as<UsersAdam>("UsersAdam"));
  const auto x = leaf({1, -2, 3});
  const auto y = leaf({1, -2, 3});
  UsersAdam users(List{x}, AdamOptions(0.1));
  Adam adam(List{y}, AdamOptions(0.1));
  for (int step = 0; step < 3; ++step) {
    const auto gradient = gradient_at(step);
    EXPECT_TRUE(torch::equal(
        coming_preconditioner(users, {gradient}).diagonal[0],
        coming_preconditioner(adam, {gradient}).diagonal[0]));
    divisor_of_step(users, x, gradient, 0);
    divisor_of_step(adam, y, gradient, 0);
  }
}

TEST(Preconditioner, RefusesWhatHasNoneAndWhatDoesNotFit) {
  const auto x = leaf({1, 2});
  torch::optim::SGD sgd(List{x}, 0.1);
  Lion lion(List{x});
  Adam adam(List{x});
  const auto refusal = [](Optimizer& optimizer, const List& gradients) {
    return message_of([&] { coming_preconditioner(optimizer, gradients); });
  };
  const std::string text = "coming_preconditioner: ";
  EXPECT_THAT(
      refusal(sgd, {vector_of({1, 1})}),
      HasSubstr(
          text + "the OptimizerTraits of torch::optim::SGD name no "
                 "preconditioner"));
  EXPECT_THAT(refusal(lion, {vector_of({1, 1})}), HasSubstr("Lion name no"));
  EXPECT_THAT(
      refusal(adam, {}), HasSubstr("for each of the 1 parameters that"));
  EXPECT_THAT(
      refusal(adam, {vector_of({1})}),
      HasSubstr("gradient 0 must be dense and of shape [2], got [1]"));
}

}  // namespace
}  // namespace stepsize::test
