#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <torch/torch.h>

#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/error_text.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using torch::optim::OptimizerParamGroup;

std::vector<torch::Tensor> parameters() {
  return {torch::ones({2}, torch::requires_grad())};
}

std::string sgd_refusal(const ClippedSGDOptions& options) {
  return message_of([&] { ClippedSGD(parameters(), options); });
}

std::string adamw_refusal(const ClippedAdamWOptions& options) {
  return message_of([&] { ClippedAdamW(parameters(), options); });
}

TEST(ClippedSGDOptions, RefusesValuesOutOfRangeByName) {
  const std::vector<std::pair<ClippedSGDOptions, std::string>> cases{
      {ClippedSGDOptions(-1), "lr must be finite and >= 0, got -1"},
      {ClippedSGDOptions(kNaN), "lr must be finite and >= 0, got nan"},
      {ClippedSGDOptions(kInfinity), "lr must be finite and >= 0, got inf"},
      {ClippedSGDOptions(1).momentum(1), "momentum must be in [0, 1), got 1"},
      {ClippedSGDOptions(1).momentum(-0.5), "momentum must be in [0, 1)"},
      {ClippedSGDOptions(1).momentum(kNaN), "momentum must be in [0, 1)"},
      {ClippedSGDOptions(1).dampening(kInfinity), "dampening must be finite"},
      {ClippedSGDOptions(1).weight_decay(-1), "weight_decay must be"},
      {ClippedSGDOptions(1).weight_decay(kNaN), "weight_decay must be"},
      {ClippedSGDOptions(1).max_norm(0), "max_norm must be > 0, got 0"},
      {ClippedSGDOptions(1).max_norm(-1), "max_norm must be > 0, got -1"},
      {ClippedSGDOptions(1).max_norm(kNaN), "max_norm must be > 0, got nan"},
      {ClippedSGDOptions(1).norm_type(static_cast<NormType>(7)), "norm_type"},
      {ClippedSGDOptions(1).non_finite(static_cast<NonFiniteGradient>(7)),
       "non_finite"},
      {ClippedSGDOptions(1).nesterov(true), "nesterov wants momentum > 0"},
      {ClippedSGDOptions(1).momentum(0.5).dampening(0.1).nesterov(true),
       "dampening 0.1"}};
  for (const auto& [options, text] : cases) {
    EXPECT_THAT(
        sgd_refusal(options),
        AllOf(HasSubstr("ClippedSGD: "), HasSubstr(text)));
  }
  EXPECT_EQ(
      sgd_refusal(ClippedSGDOptions(0).max_norm(kInfinity)),
      "nothing was thrown");
}

TEST(ClippedAdamWOptions, RefusesValuesOutOfRangeByName) {
  const std::vector<std::pair<ClippedAdamWOptions, std::string>> cases{
      {ClippedAdamWOptions(-1), "lr must be finite and >= 0, got -1"},
      {ClippedAdamWOptions().betas({1, 0.9}), "beta1 must be in [0, 1), got 1"},
      {ClippedAdamWOptions().betas({0.9, kNaN}), "beta2 must be in [0, 1)"},
      {ClippedAdamWOptions().eps(-1e-8), "eps must be finite and >= 0"},
      {ClippedAdamWOptions().weight_decay(kInfinity), "weight_decay must be"},
      {ClippedAdamWOptions().max_norm(0), "max_norm must be > 0, got 0"}};
  for (const auto& [options, text] : cases) {
    EXPECT_THAT(
        adamw_refusal(options),
        AllOf(HasSubstr("ClippedAdamW: "), HasSubstr(text)));
  }
}

TEST(ClippedSGD, ChecksTheOptionsOfItsGroups) {
  const auto with = [](std::unique_ptr<torch::optim::OptimizerOptions> own) {
    return message_of([&] {
      std::vector<OptimizerParamGroup> groups;
      groups.emplace_back(parameters());
      groups.emplace_back(parameters(), std::move(own));
      ClippedSGD(groups, ClippedSGDOptions(0.1));
    });
  };
  EXPECT_THAT(
      with(std::make_unique<torch::optim::SGDOptions>(0.1)),
      HasSubstr("must be ClippedSGDOptions"));
  EXPECT_THAT(
      with(std::make_unique<ClippedSGDOptions>(-3)), HasSubstr("got -3"));
  EXPECT_THAT(
      with(std::make_unique<ClippedSGDOptions>(
          ClippedSGDOptions(0.1).max_norm(5))),
      HasSubstr("max_norm must be the same in all parameter groups (1)"));
}

TEST(ClippedSGD, RefusesOptionsThatWentWrongBeforeItChangesAnything) {
  std::vector<OptimizerParamGroup> groups;
  groups.emplace_back(parameters());
  groups.emplace_back(parameters());
  ClippedSGD sgd(groups, ClippedSGDOptions(0.1));
  for (auto& group : sgd.param_groups()) {
    group.params()[0].mutable_grad() = torch::ones({2});
  }
  sgd.param_groups()[1].options().set_lr(kNaN);
  EXPECT_THAT(message_of([&] { sgd.step(); }), HasSubstr("lr must be finite"));
  EXPECT_TRUE(torch::equal(groups[0].params()[0], torch::ones({2})));
  EXPECT_TRUE(std::isnan(sgd.last_grad_norm()));
}

TEST(IndexedOptimizer, RefusesParametersThatAreThereOrAreNone) {
  const auto twice = parameters();
  EXPECT_THAT(
      message_of([&] {
        ClippedSGD({twice[0], twice[0]}, ClippedSGDOptions(0.1));
      }),
      HasSubstr(
          "may stand in one place only; number 1 is there already. Pass a "
          "shared tensor (tied weights) once"));
  ClippedSGD sgd(twice, ClippedSGDOptions(0.1));
  EXPECT_THAT(
      message_of([&] { sgd.add_param_group(OptimizerParamGroup(twice)); }),
      HasSubstr("one place only"));
  EXPECT_THAT(
      message_of([&] { sgd.add_parameters(twice); }),
      HasSubstr("one place only"));
  EXPECT_THAT(
      message_of([&] { sgd.add_parameters({torch::Tensor()}); }),
      HasSubstr("must be defined"));
  EXPECT_THAT(
      message_of([&] { sgd.add_parameters({twice[0] * 2}); }),
      HasSubstr("must be leaves"));
  EXPECT_EQ(sgd.param_groups().size(), 1U);
  EXPECT_EQ(sgd.param_groups()[0].params().size(), 1U);
  EXPECT_THAT(
      message_of([&] {
        ClippedSGD(std::vector<OptimizerParamGroup>{}, ClippedSGDOptions(0.1));
      }),
      HasSubstr("one parameter group at least"));
}

}  // namespace
}  // namespace stepsize::test
