#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/optim/auto_sgd.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/optimizer_snapshot.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/torch.h>

#include <memory>
#include <string>
#include <vector>

#include "csrc/state/optimizer_traits.h"
#include "tests/support/archive_bytes.h"
#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"
#include "tests/support/signum.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;
using torch::optim::Optimizer;
using torch::optim::OptimizerOptions;
using torch::optim::OptimizerParamGroup;
using torch::optim::SGD;
using torch::optim::SGDOptions;

// A subclass may do anything.
class UsersSGD : public SGD {
 public:
  using SGD::SGD;
};
class LikeSGD : public SGD {
 public:
  using SGD::SGD;
};
class UsersClippedSGD : public ClippedSGD {
 public:
  using ClippedSGD::ClippedSGD;
};
struct MoreSGDOptions : SGDOptions {
  using SGDOptions::SGDOptions;
  double more = 0;
};

std::vector<torch::Tensor> one() { return {leaf({1})}; }

double number(const OptimizerOptions& options, OptionRole role) {
  return find_traits(options)->options().get(options, role).value_or(kNaN);
}

TEST(OptimizerTraits, KnowsLibTorchsSixAndOurOwn) {
  namespace optim = torch::optim;
  const auto expect = [](const Optimizer& optimizer,
                         const std::string& name,
                         GradientUse gradient,
                         ClosureCalls calls) {
    const OptimizerTraits* const traits = find_traits(optimizer);
    ASSERT_NE(traits, nullptr) << name;
    EXPECT_EQ(traits->name(), name);
    EXPECT_EQ(traits->gradient(), gradient) << name;
    EXPECT_EQ(traits->closure_calls(), calls) << name;
    // All have a rate, found by its role.
    const auto& options = optimizer.param_groups()[0].options();
    EXPECT_EQ(number(options, OptionRole::kRate), options.get_lr()) << name;
    EXPECT_EQ(find_traits(options), traits) << name;
  };
  constexpr auto kScales = GradientUse::kScalesCoordinates;
  constexpr auto kOnce = ClosureCalls::kOnce;
  const auto x = one();
  expect(SGD(x, 0.25), "torch::optim::SGD", GradientUse::kDescends, kOnce);
  expect(optim::Adam(x), "torch::optim::Adam", kScales, kOnce);
  expect(optim::AdamW(x), "torch::optim::AdamW", kScales, kOnce);
  expect(optim::RMSprop(x), "torch::optim::RMSprop", kScales, kOnce);
  expect(optim::Adagrad(x), "torch::optim::Adagrad", kScales, kOnce);
  expect(
      optim::LBFGS(x),
      "torch::optim::LBFGS",
      GradientUse::kQuasiNewton,
      ClosureCalls::kManyTimes);
  expect(ClippedSGD(x, 0.25), "ClippedSGD", GradientUse::kDescends, kOnce);
  expect(ClippedAdamW(x), "ClippedAdamW", kScales, kOnce);
  expect(PowerMethodSGD(x), "PowerMethodSGD", GradientUse::kDescends, kOnce);
  expect(
      AutoSGD(x), "AutoSGD", GradientUse::kDescends, ClosureCalls::kManyTimes);
  expect(
      RollbackSGD(x, 0.25),
      "RollbackSGD",
      GradientUse::kDescends,
      ClosureCalls::kTwiceAtMost);
}

TEST(OptimizerTraits, FindsOptionsByTheirRole) {
  const auto adam = torch::optim::AdamOptions(0.5)
                        .betas(std::make_tuple(0.8, 0.7))
                        .eps(0.25)
                        .weight_decay(2);
  EXPECT_EQ(number(adam, OptionRole::kMomentum), 0.8);
  EXPECT_EQ(number(adam, OptionRole::kSecondBeta), 0.7);
  EXPECT_EQ(number(adam, OptionRole::kEpsilon), 0.25);
  EXPECT_EQ(number(adam, OptionRole::kWeightDecay), 2);
  const torch::optim::AdamWOptions adamw(0.5);
  EXPECT_EQ(number(adamw, OptionRole::kDecoupledWeightDecay), 1e-2);
  EXPECT_TRUE(std::isnan(number(adamw, OptionRole::kWeightDecay)));
  EXPECT_TRUE(std::isnan(
      number(torch::optim::AdagradOptions(0.5), OptionRole::kMomentum)));
}

TEST(OptimizerTraits, SaysWhoGoesUpTheGradient) {
  const auto maximizes = [](const OptimizerOptions& options) {
    return detail::descent_numbers(*find_traits(options), options).maximizes;
  };
  EXPECT_TRUE(maximizes(ClippedSGDOptions(0.5).maximize(true)));
  EXPECT_FALSE(maximizes(ClippedSGDOptions(0.5)));
  EXPECT_TRUE(maximizes(ClippedAdamWOptions(0.5).maximize(true)));
  EXPECT_FALSE(maximizes(ClippedAdamWOptions(0.5)));
  EXPECT_FALSE(maximizes(SGDOptions(0.5)));
  EXPECT_EQ(
      number(ClippedSGDOptions(0.5).maximize(true), OptionRole::kMaximizes), 1);
}

// Of (3, 4), which is 5 long and has 4 as its largest.
TEST(OptimizerTraits, SaysByWhichFactorAGradientIsClipped) {
  const std::vector<torch::Tensor> gradients{
      torch::tensor({3.0}, torch::kFloat64),
      torch::tensor({4.0}, torch::kFloat64)};
  const auto factor = [&](const Optimizer& optimizer) {
    return find_traits(optimizer)->gradient_factor()(optimizer, gradients);
  };
  const auto x = one();
  EXPECT_DOUBLE_EQ(
      factor(ClippedSGD(x, ClippedSGDOptions(0.5).max_norm(1))), 0.2);
  EXPECT_DOUBLE_EQ(
      factor(ClippedSGD(
          x,
          ClippedSGDOptions(0.5).max_norm(1).norm_type(NormType::kInfinity))),
      0.25);
  EXPECT_EQ(factor(ClippedSGD(x, ClippedSGDOptions(0.5).max_norm(6))), 1);
  EXPECT_DOUBLE_EQ(
      factor(ClippedAdamW(x, ClippedAdamWOptions(0.5).max_norm(1))), 0.2);
}

TEST(OptimizerTraits, ASubclassIsNotTheClassThatItDerivesFrom) {
  EXPECT_EQ(find_traits(UsersSGD(one(), 0.1)), nullptr);
  EXPECT_EQ(find_traits(UsersClippedSGD(one(), 0.1)), nullptr);
  EXPECT_EQ(find_traits(MoreSGDOptions(0.1)), nullptr);
  // Its options are what they are.
  EXPECT_NE(
      find_traits(UsersSGD(one(), 0.1).param_groups()[0].options()), nullptr);
}

TEST(OptimizerTraits, AClassIsDescribedOnce) {
  const OptimizerTraits* const sgd = find_traits(SGDOptions(0.1));
  describe_optimizer(sgd->as<LikeSGD>("LikeSGD"));
  const OptimizerTraits* const like = find_traits(LikeSGD(one(), 0.1));
  ASSERT_NE(like, nullptr);
  EXPECT_EQ(like->name(), "LikeSGD");
  EXPECT_EQ(like->gradient(), GradientUse::kDescends);
  // Options are still those of the class that they are made for.
  EXPECT_EQ(find_traits(SGDOptions(0.1)), sgd);
  EXPECT_EQ(
      message_of([&] { describe_optimizer(sgd->as<LikeSGD>("LikeSGD")); }),
      "describe_optimizer: LikeSGD is described already");
}

TEST(OptimizerTraits, RefusesOptionsOfAnotherClass) {
  const auto& list = find_traits(SGDOptions(0.1))->options();
  const torch::optim::AdamOptions adam(0.1);
  EXPECT_THAT(
      message_of([&] { list.get(adam, "lr"); }),
      HasSubstr("must be SGDOptions"));
  EXPECT_THAT(
      message_of([&] { list.get(SGDOptions(1), "beta1"); }),
      HasSubstr("there is no option beta1"));
  SGDOptions sgd(1);
  EXPECT_FALSE(list.assign(sgd, adam));
  EXPECT_FALSE(list.assign(sgd, MoreSGDOptions(0.5)));
  EXPECT_EQ(sgd.lr(), 1);
}

TEST(OptimizerTraits, RefusesWhatIsNoInteger) {
  torch::optim::LBFGSOptions lbfgs(1);
  const auto& list = find_traits(lbfgs)->options();
  for (const double value : {kNaN, kInfinity, 0x1p63, 2.5}) {
    EXPECT_THAT(
        message_of([&] { list.set(lbfgs, "max_iter", value); }),
        HasSubstr(
            "torch::optim::LBFGS: max_iter must be an integer of 64 bits, "
            "got "));
    EXPECT_EQ(lbfgs.max_iter(), 20);
  }
  list.set(lbfgs, "max_iter", 7);
  EXPECT_EQ(lbfgs.max_iter(), 7);
}

TEST(DescribedOptimizer, ChecksItsOptionsByItsList) {
  EXPECT_EQ(
      message_of([] { Signum(one(), SignumOptions(-1)); }),
      "Signum: lr must be finite and >= 0, got -1");
  Signum optimizer(one());
  EXPECT_EQ(
      message_of([&] {
        optimizer.add_param_group(OptimizerParamGroup(
            one(),
            std::make_unique<SignumOptions>(SignumOptions().momentum(1))));
      }),
      "Signum: momentum must be in [0, 1), got 1");
  EXPECT_EQ(
      message_of([&] {
        optimizer.add_param_group(
            OptimizerParamGroup(one(), std::make_unique<SGDOptions>(0.1)));
      }),
      "Signum: the options of a parameter group must be SignumOptions");
  EXPECT_EQ(optimizer.param_groups().size(), 1U);
  optimizer.param_groups()[0].options().set_lr(kInfinity);
  EXPECT_EQ(
      message_of([&] { optimizer.step(); }),
      "Signum: lr must be finite and >= 0, got inf");
}

TEST(DescribedOptimizer, IsSavedAndTakenBackWithoutMoreWords) {
  const auto w = leaf({1, -2});
  Signum optimizer({w}, SignumOptions(0.125).momentum(0.5));
  const auto step = [&] {
    w.mutable_grad() = w.detach() * 2;
    optimizer.step();
  };
  step();
  const std::string bytes = saved(optimizer);
  OptimizerSnapshot snapshot(optimizer);
  auto& options =
      static_cast<SignumOptions&>(optimizer.param_groups()[0].options());
  step();
  const auto there = w.detach().clone();
  options.lr(7).momentum(0.25);
  snapshot.restore();
  // In place.
  EXPECT_EQ(options.lr(), 0.125);
  EXPECT_EQ(options.momentum(), 0.5);
  step();
  EXPECT_TRUE(torch::equal(w, there));

  const auto v = leaf({1, -2});
  Signum other({v});
  load(other, bytes);
  const auto& loaded =
      static_cast<const SignumOptions&>(other.param_groups()[0].options());
  EXPECT_EQ(loaded.lr(), 0.125);
  EXPECT_EQ(loaded.momentum(), 0.5);
}

}  // namespace
}  // namespace stepsize::test
