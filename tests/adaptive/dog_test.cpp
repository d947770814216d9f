#include <stepsize/adaptive/dog.h>

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "csrc/kernels/dog_loop.h"
#include "tests/adaptive/fused_checks.h"
#include "tests/adaptive/optimizer_golden.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using torch::optim::OptimizerParamGroup;

// Its tensor operations, on a CPU.
class DoGByOperations : public DoG {
 public:
  using DoG::step_by_operations;
  using DoG::sums_by_operations;
};

TEST(DoG, HasTheReferencesDefaults) {
  const DoGOptions options;
  EXPECT_EQ(options.lr(), 1);
  EXPECT_EQ(options.reps_rel(), 1e-6);
  EXPECT_EQ(options.eps(), 1e-8);
  EXPECT_EQ(options.init_eta(), 0);
  EXPECT_EQ(options.weight_decay(), 0);
  EXPECT_FALSE(options.layer_wise());
}

void expect_dog_golden(const std::string& name, const DoGOptions& options) {
  expect_follows_golden(
      name, [&](const std::vector<torch::Tensor>& parameters) {
        const auto dog = std::make_shared<DoG>(parameters, options);
        return GoldenRun{
            [dog](GoldenProblem& problem) {
              problem.set_gradients();
              dog->step();
            },
            [dog](const std::string&) { return dog->current_lr(0, 2); }};
      });
}

TEST(DoG, FollowsTheReference) { expect_dog_golden("dog", {}); }

TEST(DoG, FollowsTheReferenceWithAllOptions) {
  expect_dog_golden(
      "dog_options", DoGOptions().eps(0.1).init_eta(0.01).weight_decay(0.1));
}

TEST(DoG, FollowsTheReferenceByLayer) {
  expect_dog_golden(
      "ldog",
      DoGOptions(0.5).reps_rel(1e-4).weight_decay(0.1).layer_wise(true));
}

TEST(DoG, StepsAsByHand) {
  auto x = leaf({3, 4});
  DoG dog({x}, DoGOptions(0.5).reps_rel(0.25).eps(1));
  EXPECT_EQ(dog.current_lr(), 0);
  x.mutable_grad() = vector_of({0, std::sqrt(3.0)});
  dog.step();
  // r = (1 + 5) / 4, G = 1 + 3.
  EXPECT_DOUBLE_EQ(dog.max_distance(), 1.5);
  EXPECT_DOUBLE_EQ(dog.squared_gradients(), 4);
  EXPECT_DOUBLE_EQ(dog.current_lr(), 0.5 * 1.5 / 2);
  EXPECT_DOUBLE_EQ(x[1].item<double>(), 4 - 0.375 * std::sqrt(3.0));
  {
    const torch::NoGradGuard no_grad;
    x[0] -= 8;
  }
  x.mutable_grad() = vector_of({std::sqrt(12.0), 0});
  dog.step();
  EXPECT_DOUBLE_EQ(dog.squared_gradients(), 16);
  EXPECT_DOUBLE_EQ(dog.max_distance(), std::sqrt(64 + 0.375 * 0.375 * 3));
}

// A loss times 1000 has the same path at eps 0, to rounding; at another eps it
// has not.
TEST(DoG, DoesNotKnowTheScaleOfTheLoss) {
  const auto run = [](double scale, const DoGOptions& options) {
    auto x = leaf({1, -2, 3});
    auto y = leaf({0.5});
    DoG dog({x, y}, options);
    const auto curvature = vector_of({1, 3, 10});
    for (int step = 0; step < 200; ++step) {
      x.mutable_grad() = scale * curvature * (x.detach() - 2);
      y.mutable_grad() = scale * (y.detach() + 1);
      dog.step();
    }
    auto all = fused_numbers(x);
    all.push_back(y.item<double>());
    return all;
  };
  for (const bool layer_wise : {false, true}) {
    const auto options =
        DoGOptions().reps_rel(1e-3).eps(0).layer_wise(layer_wise);
    const auto plain = run(1, options);
    EXPECT_LT(fused_difference(run(1000, options), plain), 1e-11);
    EXPECT_GT(fused_difference(plain, {1, -2, 3, 0.5}), 0.5);
    auto with_eps = options;
    with_eps.eps(1);
    EXPECT_GT(fused_difference(run(1e-3, with_eps), run(1, with_eps)), 1e-3);
  }
}

TEST(DoG, FindsTheMinimumOfAQuadraticAtItsDefaults) {
  auto x = leaf({1, -2, 3});
  DoG dog({x});
  const auto curvature = vector_of({1, 3, 10});
  double before = 0;
  for (int step = 0; step < 2000; ++step) {
    x.mutable_grad() = curvature * (x.detach() - 2);
    dog.step();
    EXPECT_GE(dog.max_distance(), before);
    before = dog.max_distance();
  }
  EXPECT_LT((x - 2).abs().max().item<double>(), 1e-3);
}

TEST(DoG, TwoGroupsAreOneVector) {
  auto x = leaf({1, 2});
  auto y = leaf({3});
  auto all = leaf({1, 2, 3});
  std::vector<OptimizerParamGroup> groups;
  groups.emplace_back(std::vector<torch::Tensor>{x});
  groups.emplace_back(std::vector<torch::Tensor>{y});
  const DoGOptions options = DoGOptions().reps_rel(0.01);
  DoG dog(groups, options);
  DoG one({all}, options);
  for (int step = 0; step < 50; ++step) {
    x.mutable_grad() = x.detach() * 2;
    y.mutable_grad() = y.detach() * 2;
    all.mutable_grad() = all.detach() * 2;
    dog.step();
    one.step();
  }
  EXPECT_NEAR(y.item<double>(), all[2].item<double>(), 1e-12);
  EXPECT_NEAR(dog.current_lr(1), one.current_lr(), 1e-12);
}

TEST(DoG, LayersHaveRatesOfTheirOwn) {
  auto x = leaf({1});
  auto y = leaf({1});
  auto alone = leaf({1});
  const DoGOptions options = DoGOptions().reps_rel(0.01).layer_wise(true);
  DoG dog({x, y}, options);
  DoG one({alone}, DoGOptions().reps_rel(0.01));
  for (int step = 0; step < 50; ++step) {
    x.mutable_grad() = x.detach() * 2;
    y.mutable_grad() = y.detach() * 2 + 100;
    alone.mutable_grad() = alone.detach() * 2;
    dog.step();
    one.step();
  }
  EXPECT_EQ(x.item<double>(), alone.item<double>());
  EXPECT_EQ(dog.current_lr(0, 0), one.current_lr());
  EXPECT_NE(dog.current_lr(0, 0), dog.current_lr(0, 1));
  EXPECT_THROW(dog.current_lr(0, 2), c10::Error);
}

// A layer's numbers go with its parameter, to another place and through an
// archive.
TEST(DoG, ALayersNumbersAreItsParameters) {
  auto x = leaf({1});
  auto y = leaf({1});
  DoG dog({x, y}, DoGOptions().reps_rel(0.01).layer_wise(true));
  const auto step = [&](DoG& own) {
    x.mutable_grad() = x.detach() * 2;
    y.mutable_grad() = y.detach() * 2 + 100;
    own.step();
  };
  for (int i = 0; i < 20; ++i) step(dog);
  const double squares = dog.squared_gradients(0, 1);
  auto& parameters = dog.param_groups()[0].params();
  std::swap(parameters[0], parameters[1]);
  EXPECT_EQ(dog.squared_gradients(0, 0), squares);
  step(dog);
  EXPECT_GT(dog.squared_gradients(0, 0), squares);
  std::stringstream file;
  torch::save(dog, file);
  DoG other({y, x}, DoGOptions().layer_wise(true));
  torch::load(other, file);
  EXPECT_EQ(other.current_lr(0, 0), dog.current_lr(0, 0));
  EXPECT_EQ(other.squared_gradients(0, 1), dog.squared_gradients(0, 1));
  parameters.erase(parameters.begin());
  EXPECT_EQ(dog.squared_gradients(0, 0), other.squared_gradients(0, 1));
}

TEST(DoG, TheNumbersOfALayerThatHasLeftAreGone) {
  auto x = leaf({1});
  auto y = leaf({1});
  DoG dog({x, y}, DoGOptions().reps_rel(0.01).layer_wise(true));
  for (auto* one : {&x, &y}) one->mutable_grad() = one->detach() * 2;
  dog.step();
  EXPECT_GT(dog.squared_gradients(0, 1), 0);
  auto& parameters = dog.param_groups()[0].params();
  parameters.pop_back();
  x.mutable_grad() = torch::Tensor();
  dog.step();  // updates nothing
  parameters.push_back(y);
  EXPECT_EQ(dog.squared_gradients(0, 1), 0);
  EXPECT_GT(dog.squared_gradients(0, 0), 0);
}

TEST(DoG, WithoutAGradientAndEpsItRests) {
  auto x = leaf({1});
  DoG dog({x}, DoGOptions().eps(0).reps_rel(0.1));
  x.mutable_grad() = torch::zeros_like(x);
  dog.step();
  EXPECT_EQ(x.item<double>(), 1);
  EXPECT_EQ(dog.current_lr(), 0);
  x.mutable_grad() = vector_of({2});
  dog.step();
  EXPECT_DOUBLE_EQ(x.item<double>(), 1 - 0.2);
  EXPECT_EQ(dog.squared_gradients(), 4);
}

TEST(DoG, StepsAlikeByTensorOperations) {
  for (const auto type : {torch::kFloat64, torch::kBFloat16}) {
    FusedDraws draw;
    auto x = draw(101, type).set_requires_grad(true);
    auto other = x.detach().clone();
    DoG dog({x}, DoGOptions().reps_rel(0.1).weight_decay(0.25));
    const auto wide = type == torch::kFloat64 ? type : torch::kFloat32;
    const auto start = other.to(wide).clone();
    double squares = 1e-8;
    double distance = 0.1 * (1 + start.norm().item<double>());
    for (int step = 0; step < 5; ++step) {
      x.mutable_grad() = draw(101, type);
      detail::DoGNumbers numbers = {0.25, 0};
      const auto sums =
          DoGByOperations::sums_by_operations(other, x.grad(), start, numbers);
      distance = std::max(distance, std::sqrt(sums[0].item<double>()));
      squares += sums[1].item<double>();
      numbers.rate = distance / std::sqrt(squares);
      DoGByOperations::step_by_operations(other, x.grad(), start, numbers);
      dog.step();
      EXPECT_NEAR(dog.current_lr(), numbers.rate, numbers.rate * 1e-6);
    }
    EXPECT_LT(
        fused_difference(fused_numbers(x), fused_numbers(other)),
        type == torch::kFloat64 ? 1e-13 : 0.02)
        << type;
  }
}

TEST(DoG, GivesOneResult) {
  expect_fused_alike<DoG>(DoGOptions().reps_rel(0.01).weight_decay(0.1));
  expect_fused_alike<DoG>(DoGOptions().reps_rel(0.01).layer_wise(true));
}

TEST(DoG, ShowsANaN) {
  auto x = leaf({1, 1});
  DoG dog({x});
  x.mutable_grad() = vector_of({1, kNaN});
  dog.step();
  EXPECT_TRUE(std::isnan(x[0].item<double>()));
}

}  // namespace
}  // namespace stepsize::test
