// Optimizers whose state is kept in fewer bytes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/kernels/compact_state.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/grad_scaler.h>
#include <stepsize/optim/gradient_norm_rollback.h>
#include <stepsize/optim/lion.h>
#include <stepsize/state/preconditioner.h>
#include <torch/torch.h>

#include <cmath>
#include <cstddef>
#include <functional>
#include <limits>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/archive_bytes.h"
#include "tests/support/error_text.h"

namespace stepsize::test {
namespace {

using testing::HasSubstr;
using torch::optim::OptimizerParamGroup;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

torch::Tensor state_leaf(at::IntArrayRef shape, torch::Dtype type) {
  return torch::randn(shape).to(type).set_requires_grad(true);
}

std::vector<torch::Tensor> state_of(
    IndexedOptimizer& optimizer, std::size_t index = 0) {
  ParameterState state;
  optimizer.state_access()->read(0, index, state);
  std::vector<torch::Tensor> there;
  for (const auto& tensor : state.tensors) {
    if (tensor.defined()) there.push_back(tensor);
  }
  return there;
}

struct StateRow {
  std::string name;
  StateType type;
  // Its bytes for each element of state.
  double bytes;
  std::function<std::unique_ptr<IndexedOptimizer>(
      const std::vector<OptimizerParamGroup>&, StateType)>
      make;
  int kinds;
};

template <typename Optimizer, typename Options>
void add_state_rows(
    std::vector<StateRow>& rows,
    const std::string& name,
    const Options& options,
    int kinds) {
  for (const StateType type :
       {StateType::kBFloat16, StateType::kBlockwise8Bit}) {
    const bool half = type == StateType::kBFloat16;
    rows.push_back(
        {name + (half ? "BFloat16" : "EightBit"),
         type,
         half ? 2.0 : 1.02,
         [options](
             const std::vector<OptimizerParamGroup>& groups, StateType own) {
           auto mine = options;
           mine.state_type(own);
           return std::make_unique<Optimizer>(groups, mine);
         },
         kinds});
  }
}

std::vector<StateRow> state_rows() {
  std::vector<StateRow> rows;
  add_state_rows<ClippedSGD>(
      rows, "SGD", ClippedSGDOptions(0.05).momentum(0.9), 1);
  add_state_rows<ClippedSGD>(
      rows,
      "Nesterov",
      ClippedSGDOptions(0.05).momentum(0.9).nesterov(true),
      1);
  add_state_rows<ClippedAdamW>(rows, "AdamW", ClippedAdamWOptions(0.01), 2);
  add_state_rows<ClippedAdamW>(
      rows,
      "AmsgradCautious",
      ClippedAdamWOptions(0.01).amsgrad(true).cautious(true),
      3);
  add_state_rows<Lion>(rows, "Lion", LionOptions(0.002), 1);
  return rows;
}

class OwnStateType : public testing::TestWithParam<StateRow> {
 protected:
  std::unique_ptr<IndexedOptimizer> make(
      const std::vector<torch::Tensor>& parameters) const {
    return GetParam().make({OptimizerParamGroup(parameters)}, GetParam().type);
  }

  static void step(
      IndexedOptimizer& optimizer,
      const std::vector<torch::Tensor>& parameters,
      int count = 1) {
    for (int k = 0; k < count; ++k) {
      for (auto parameter : parameters) {
        parameter.mutable_grad() = torch::randn_like(parameter, torch::kFloat32)
                                       .to(parameter.scalar_type());
      }
      optimizer.step();
    }
  }
};

TEST_P(OwnStateType, TakesItsBytes) {
  for (const auto type : {torch::kFloat32, torch::kBFloat16, torch::kHalf}) {
    const auto parameter = state_leaf({200, 100}, type);
    const auto optimizer = make({parameter});
    step(*optimizer, {parameter});
    double bytes = 0;
    for (const auto& tensor : state_of(*optimizer)) {
      bytes += static_cast<double>(tensor.nbytes());
    }
    EXPECT_LE(bytes / 20000, GetParam().kinds * GetParam().bytes);
    EXPECT_GT(bytes / 20000, GetParam().kinds * 0.99);
  }
}

TEST_P(OwnStateType, LeavesSmallAndWideParametersAlone) {
  const auto small = state_leaf({20, 100}, torch::kFloat32);
  const auto norm = state_leaf({5000}, torch::kFloat32);
  const auto wide = state_leaf({100, 100}, torch::kFloat64);
  const auto optimizer = make({small, norm, wide});
  step(*optimizer, {small, norm, wide});
  for (std::size_t i = 0; i < 3; ++i) {
    for (const auto& tensor : state_of(*optimizer, i)) {
      EXPECT_EQ(
          tensor.scalar_type(), i < 2 ? torch::kFloat32 : torch::kFloat64);
    }
  }
}

TEST_P(OwnStateType, GoesOnBitForBitFromAnArchive) {
  torch::manual_seed(1);
  const auto one = state_leaf({70, 70}, torch::kFloat32);
  const auto first = make({one});
  step(*first, {one}, 3);
  const auto two = one.detach().clone().set_requires_grad(true);
  const auto second = make({two});
  std::stringstream archive;
  torch::save(*first, archive);
  torch::load(*second, archive);
  torch::manual_seed(2);
  step(*first, {one}, 3);
  torch::manual_seed(2);
  step(*second, {two}, 3);
  EXPECT_TRUE(torch::equal(one, two));
  const auto kept = state_of(*first);
  const auto again = state_of(*second);
  ASSERT_EQ(kept.size(), again.size());
  for (std::size_t i = 0; i < kept.size(); ++i) {
    EXPECT_TRUE(torch::equal(kept[i], again[i]));
  }
}

TEST_P(OwnStateType, AGuardGoesOnBitForBitFromAnArchive) {
  for (const StateType type : {StateType::kFloat32, GetParam().type}) {
    torch::manual_seed(7);
    const auto one = state_leaf({70, 70}, torch::kFloat32);
    const auto pattern = torch::randn({70, 70});
    const auto first = GetParam().make({OptimizerParamGroup({one})}, type);
    const auto options = RollbackOptions().z_score(0).patience(1);
    GradientNormRollback first_guard(*first, options);
    const auto guarded_step =
        [&](GradientNormRollback& guard, const torch::Tensor& x, double size) {
          x.mutable_grad() = pattern * size;
          guard.step();
        };
    // The point is where the gradient is smallest.
    for (const double size : {1.0, 0.5, 0.51}) {
      guarded_step(first_guard, one, size);
    }
    std::stringstream archive;
    std::stringstream guard_archive;
    torch::save(*first, archive);
    torch::save(first_guard, guard_archive);
    const auto two = one.detach().clone().set_requires_grad(true);
    const auto second = GetParam().make({OptimizerParamGroup({two})}, type);
    GradientNormRollback second_guard(*second, options);
    torch::load(*second, archive);
    torch::load(second_guard, guard_archive);
    for (const double size : {0.51, 100.0, 0.51}) {
      guarded_step(first_guard, one, size);
      guarded_step(second_guard, two, size);
      EXPECT_TRUE(torch::equal(one, two)) << size;
    }
    EXPECT_EQ(first_guard.rollbacks(), 1);
    EXPECT_EQ(second_guard.rollbacks(), 1);
    const auto kept = state_of(*first);
    const auto again = state_of(*second);
    ASSERT_EQ(kept.size(), again.size());
    for (std::size_t i = 0; i < kept.size(); ++i) {
      EXPECT_TRUE(torch::equal(kept[i], again[i]));
    }
  }
}

TEST_P(OwnStateType, WritesSmallerArchives) {
  const auto parameter = state_leaf({200, 200}, torch::kFloat32);
  const auto size = [&](StateType type) {
    const auto optimizer =
        GetParam().make({OptimizerParamGroup({parameter})}, type);
    step(*optimizer, {parameter});
    std::stringstream archive;
    torch::save(*optimizer, archive);
    return static_cast<double>(archive.str().size());
  };
  // Of 40,000 numbers a kind of state; a few kilobytes are of the format.
  const double saved = size(StateType::kFloat32) - size(GetParam().type);
  EXPECT_NEAR(saved / 40000, GetParam().kinds * (4 - GetParam().bytes), 0.1);
}

TEST_P(OwnStateType, IsMadeAnewWhereTheOptionChanges) {
  torch::manual_seed(3);
  const auto parameter = state_leaf({80, 80}, torch::kFloat32);
  const auto optimizer =
      GetParam().make({OptimizerParamGroup({parameter})}, StateType::kFloat32);
  step(*optimizer, {parameter}, 5);
  const auto full = state_of(*optimizer);
  const auto set = [&](StateType type) {
    auto& options = optimizer->param_groups()[0].options();
    if (auto* sgd = dynamic_cast<ClippedSGDOptions*>(&options)) {
      sgd->state_type(type).lr(0);
    } else if (auto* adam = dynamic_cast<ClippedAdamWOptions*>(&options)) {
      adam->state_type(type).lr(0);
    } else {
      dynamic_cast<LionOptions&>(options).state_type(type).lr(0);
    }
  };
  set(GetParam().type);
  parameter.mutable_grad() = torch::zeros_like(parameter);
  optimizer->step();
  set(StateType::kFloat32);
  optimizer->step();
  const auto back = state_of(*optimizer);
  ASSERT_EQ(back.size(), full.size());
  for (std::size_t i = 0; i < full.size(); ++i) {
    EXPECT_EQ(back[i].scalar_type(), torch::kFloat32);
    // Two steps with no gradient, and twice what the codes are off by.
    const auto mean = back[i].abs().mean().item<double>();
    const auto before = full[i].abs().mean().item<double>();
    EXPECT_LT(mean, 1.02 * before);
    EXPECT_GT(mean, 0.75 * before);
  }
}

TEST_P(OwnStateType, GoesDownABowlAsFullStateDoes) {
  const auto run = [&](StateType type) {
    torch::manual_seed(4);
    const auto curvature = torch::linspace(0.5, 2, 6400).view({80, 80});
    const auto x = state_leaf({80, 80}, torch::kFloat32);
    const auto optimizer = GetParam().make({OptimizerParamGroup({x})}, type);
    double loss = 0;
    for (int k = 0; k < 400; ++k) {
      optimizer->zero_grad();
      const auto value = (curvature * x.square()).mean() * 50;
      value.backward();
      optimizer->step();
      loss = value.item<double>();
    }
    return loss;
  };
  const double full = run(StateType::kFloat32);
  const double compact = run(GetParam().type);
  // The start is at 62.
  EXPECT_LT(compact, 1.5 * full + 0.02) << full;
}

INSTANTIATE_TEST_SUITE_P(
    All, OwnStateType, testing::ValuesIn(state_rows()), [](const auto& own) {
      return own.param.name;
    });

class MeansInFewerBytes : public testing::TestWithParam<StateType> {};

// Rounded to the nearest, a mean that changes by a thousandth a step would stay
// where it is: a digit of bfloat16 is eight thousandths, and values of the code
// of eight bits are further apart.
TEST_P(MeansInFewerBytes, OfSquaresFollowSmallGradients) {
  auto parameter = torch::zeros({64, 64}).set_requires_grad(true);
  ClippedAdamW optimizer(
      {parameter},
      ClippedAdamWOptions(0).max_norm(kInfinity).state_type(GetParam()));
  parameter.mutable_grad() = torch::ones({64, 64});
  for (int k = 0; k < 1000; ++k) optimizer.step();
  // Every other element's gradients get smaller.
  const auto small = torch::arange(64).remainder(2).to(torch::kBool);
  parameter.mutable_grad().masked_fill_(small, 0.3);
  for (int k = 0; k < 2000; ++k) optimizer.step();
  const auto squares =
      full_state(state_of(optimizer)[1], parameter, /*is_unsigned=*/true)
          .to(torch::kFloat64);
  const double start = 1 - std::pow(0.999, 1000);
  const double left = std::pow(0.999, 2000);
  EXPECT_NEAR(
      squares.masked_select(small.expand({64, 64})).mean().item<double>(),
      start * left + 0.09 * (1 - left),
      0.01);
  EXPECT_NEAR(
      squares.masked_select(small.logical_not().expand({64, 64}))
          .mean()
          .item<double>(),
      1 - std::pow(0.999, 3000),
      0.01);
}

TEST_P(MeansInFewerBytes, OfGradientsFollowSmallChanges) {
  auto parameter = torch::zeros({64, 64}).set_requires_grad(true);
  Lion optimizer({parameter}, LionOptions(0).state_type(GetParam()));
  parameter.mutable_grad() = torch::ones({64, 64});
  for (int k = 0; k < 500; ++k) optimizer.step();
  const auto small = torch::arange(64).remainder(2).to(torch::kBool);
  parameter.mutable_grad().masked_fill_(small, 0.5);
  for (int k = 0; k < 700; ++k) optimizer.step();
  const auto means =
      full_state(state_of(optimizer)[0], parameter).to(torch::kFloat64);
  EXPECT_NEAR(
      means.masked_select(small.expand({64, 64})).mean().item<double>(),
      0.5,
      0.01);
}

TEST_P(MeansInFewerBytes, OfParametersAlikeAreNotRoundedAlike) {
  auto a = torch::zeros({64, 64}).set_requires_grad(true);
  auto b = torch::zeros({64, 64}).set_requires_grad(true);
  ClippedAdamW optimizer({a, b}, ClippedAdamWOptions(0).state_type(GetParam()));
  torch::manual_seed(7);
  for (int k = 0; k < 20; ++k) {
    a.mutable_grad() = torch::randn({64, 64});
    b.mutable_grad() = a.grad().clone();
    optimizer.step();
  }
  EXPECT_FALSE(
      torch::equal(state_of(optimizer, 0)[1], state_of(optimizer, 1)[1]));
}

INSTANTIATE_TEST_SUITE_P(
    All,
    MeansInFewerBytes,
    testing::Values(StateType::kBFloat16, StateType::kBlockwise8Bit),
    [](const auto& own) {
      return own.param == StateType::kBFloat16 ? "BFloat16" : "EightBit";
    });

// 4096 of Rosenbrock's valleys from starts of their own, on the way to (1, 1).
TEST(StateType, FollowsRosenbrocksValleys) {
  const auto run = [](StateType type) {
    torch::manual_seed(8);
    const auto x = state_leaf({64, 64}, torch::kFloat32);
    const auto y = state_leaf({64, 64}, torch::kFloat32);
    ClippedAdamWOptions options(0.01);
    options.max_norm(kInfinity).weight_decay(0).state_type(type);
    ClippedAdamW optimizer({x, y}, options);
    double loss = 0;
    for (int k = 0; k < 4000; ++k) {
      optimizer.zero_grad();
      const auto value =
          ((1 - x).square() + 100 * (y - x.square()).square()).sum();
      value.backward();
      optimizer.step();
      loss = value.item<double>() / 4096;
    }
    return loss;
  };
  const double full = run(StateType::kFloat32);
  // Hundreds at the start; the way along the valley is long.
  EXPECT_LT(full, 0.2);
  for (const auto type : {StateType::kBFloat16, StateType::kBlockwise8Bit}) {
    EXPECT_LT(run(type), 1.05 * full);
  }
}

TEST(StateType, ASquareBeyondTheRangeShows) {
  auto parameter = torch::zeros({64, 64}).set_requires_grad(true);
  ClippedAdamW optimizer(
      {parameter},
      ClippedAdamWOptions(0.1).max_norm(kInfinity).state_type(
          StateType::kBlockwise8Bit));
  parameter.mutable_grad() = torch::ones({64, 64});
  parameter.mutable_grad()[3][3] = 1e21;
  optimizer.step();
  parameter.mutable_grad()[3][3] = 1;
  optimizer.step();
  EXPECT_EQ(parameter.isnan().sum().item<int64_t>(), 256);
}

TEST(StateType, GroupsHaveTheirOwn) {
  const auto a = state_leaf({70, 70}, torch::kFloat32);
  const auto b = state_leaf({70, 70}, torch::kFloat32);
  ClippedAdamW optimizer(
      std::vector<OptimizerParamGroup>{
          OptimizerParamGroup(
              {a},
              std::make_unique<ClippedAdamWOptions>(
                  ClippedAdamWOptions(0.1).state_type(
                      StateType::kBlockwise8Bit))),
          OptimizerParamGroup({b})},
      ClippedAdamWOptions(0.1));
  a.mutable_grad() = torch::ones({70, 70});
  b.mutable_grad() = torch::ones({70, 70});
  optimizer.step();
  ParameterState state;
  optimizer.state_access()->read(0, 0, state);
  EXPECT_EQ(state.tensors[0].scalar_type(), torch::kByte);
  optimizer.state_access()->read(1, 0, state);
  EXPECT_EQ(state.tensors[0].scalar_type(), torch::kFloat32);
}

TEST(StateType, IsTakenBackByAGuard) {
  torch::manual_seed(5);
  const auto x = state_leaf({70, 70}, torch::kFloat32);
  ClippedAdamW optimizer(
      {x},
      ClippedAdamWOptions(0.01).max_norm(kInfinity).state_type(
          StateType::kBlockwise8Bit));
  GradientNormRollback guard(optimizer);
  const auto closure = [&] {
    optimizer.zero_grad();
    const auto loss = x.square().sum();
    loss.backward();
    return loss;
  };
  const auto largest_square = [&] {
    return full_state(state_of(optimizer)[1], x, /*is_unsigned=*/true)
        .max()
        .item<double>();
  };
  for (int k = 0; k < 30; ++k) guard.step(closure);
  EXPECT_EQ(guard.rule().rollbacks(), 0);
  const double before = largest_square();
  const auto set_rate = [&](double lr) {
    static_cast<ClippedAdamWOptions&>(optimizer.param_groups()[0].options())
        .lr(lr);
  };
  set_rate(1e4);
  guard.step(closure);
  set_rate(0.01);
  guard.step(closure);
  EXPECT_EQ(guard.rule().rollbacks(), 1);
  EXPECT_EQ(state_of(optimizer)[1].scalar_type(), torch::kByte);
  // Had the state stayed, the square of a gradient of 2e4 would be in it.
  EXPECT_LT(largest_square(), 2 * before);
  EXPECT_LT(x.abs().max().item<double>(), 10);
}

TEST(StateType, TellsThePreconditionerOfItsNumbers) {
  torch::manual_seed(6);
  const auto x = state_leaf({70, 70}, torch::kFloat32);
  const auto gradient = torch::randn({70, 70});
  const auto diagonal = [&](StateType type) {
    const auto own = x.detach().clone().set_requires_grad(true);
    ClippedAdamW optimizer(
        {own}, ClippedAdamWOptions(0.01).max_norm(kInfinity).state_type(type));
    own.mutable_grad() = gradient;
    for (int k = 0; k < 10; ++k) optimizer.step();
    return coming_preconditioner(optimizer, {gradient}).diagonal[0];
  };
  const auto full = diagonal(StateType::kFloat32);
  const auto compact = diagonal(StateType::kBlockwise8Bit);
  // Means of squares to a tenth, where they are not far below the largest.
  const auto large = full.gt(0.1 * full.max());
  EXPECT_TRUE(torch::allclose(
      compact.masked_select(large), full.masked_select(large), 0.1));
}

TEST(StateType, LoadsNoStateOfAnotherLength) {
  const auto x = state_leaf({70, 70}, torch::kFloat32);
  const auto y = state_leaf({71, 70}, torch::kFloat32);
  const auto options = LionOptions(0.1).state_type(StateType::kBlockwise8Bit);
  Lion lion({x}, options);
  x.mutable_grad() = torch::ones_like(x);
  lion.step();
  Lion other({y}, options);
  std::stringstream archive;
  torch::save(lion, archive);
  EXPECT_THAT(
      message_of([&] { torch::load(other, archive); }),
      HasSubstr("Lion: exp_avg of parameter 0 of group 0 of the archive"));
}

TEST(Unchecked, TakesNoNorm) {
  for (const bool bad : {false, true}) {
    auto checked = torch::ones({3}).set_requires_grad(true);
    auto unchecked = torch::ones({3}).set_requires_grad(true);
    const auto options = ClippedSGDOptions(0.1).max_norm(kInfinity);
    ClippedSGD one({checked}, options);
    ClippedSGD two(
        {unchecked},
        ClippedSGDOptions(options).non_finite(NonFiniteGradient::kUnchecked));
    for (auto* x : {&checked, &unchecked}) {
      x->mutable_grad() = torch::tensor({1.0F, bad ? INFINITY : 2.0F, 3.0F});
    }
    one.step();
    two.step();
    EXPECT_EQ(torch::equal(checked, unchecked), !bad);
    EXPECT_EQ(unchecked.isfinite().all().item<bool>(), !bad);
    EXPECT_TRUE(std::isnan(two.last_grad_norm()));
    EXPECT_EQ(two.skipped_steps(), 0);
  }
}

TEST(Unchecked, WantsNoClipping) {
  EXPECT_THAT(
      message_of([] {
        ClippedAdamW(
            {torch::ones({1}).set_requires_grad(true)},
            ClippedAdamWOptions(0.1).non_finite(NonFiniteGradient::kUnchecked));
      }),
      HasSubstr("ClippedAdamW: non_finite kUnchecked wants max_norm infinite, "
                "got 1"));
}

TEST(Unchecked, LeavesTheChecksOfAScalerAlone) {
  auto x = torch::ones({2}).set_requires_grad(true);
  ClippedSGD optimizer(
      {x},
      ClippedSGDOptions(0.1).max_norm(kInfinity).non_finite(
          NonFiniteGradient::kUnchecked));
  GradScaler scaler;
  scaler.scale(x.sum()).backward();
  x.mutable_grad()[0] = INFINITY;
  scaler.step(optimizer);
  scaler.update();
  EXPECT_TRUE(torch::equal(x, torch::ones({2})));
  EXPECT_EQ(scaler.skipped_steps(), 1);
}

}  // namespace
}  // namespace stepsize::test
