#include <stepsize/adaptive/lamb.h>

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <memory>
#include <tuple>
#include <vector>

#include "tests/adaptive/layerwise.h"
#include "tests/adaptive/optimizer_golden.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using torch::optim::OptimizerParamGroup;

// Its tensor operations, on a CPU.
class LambByOperations : public LAMB {
 public:
  using LAMB::direction_by_operations;
  using LAMB::step_by_operations;
};

torch::Tensor lamb_layer(const std::vector<double>& values) {
  return vector_of(values).view({1, -1}).set_requires_grad(true);
}

TEST(LAMB, HasThePapersDefaults) {
  const LAMBOptions options;
  EXPECT_EQ(options.betas(), std::make_tuple(0.9, 0.999));
  EXPECT_EQ(options.eps(), 1e-6);
  EXPECT_EQ(options.weight_decay(), 0);
  EXPECT_TRUE(options.bias_correction());
  EXPECT_EQ(options.max_trust_ratio(), kInfinity);
  EXPECT_TRUE(options.adapt());
  EXPECT_FALSE(options.adapt_vectors());
}

TEST(LAMB, FollowsThePapersEquations) {
  expect_follows_golden<LAMB>(
      "lamb",
      LAMBOptions(0.02).betas(std::make_tuple(0.9, 0.99)).weight_decay(0.01));
}

TEST(LAMB, StepsAsByHand) {
  auto w = lamb_layer({3, 4});
  LAMB lamb(
      {w},
      LAMBOptions(0.5)
          .betas(std::make_tuple(0.5, 0.75))
          .eps(0)
          .bias_correction(false)
          .weight_decay(1));
  w.mutable_grad() = vector_of({-4, 0}).view({1, 2});
  {
    // 0 / 0 otherwise.
    const torch::NoGradGuard no_grad;
    w.mutable_grad().index_put_({0, 1}, 1);
  }
  lamb.step();
  // m / sqrt(v) = (-2 / 2, 1/2 / (1/2)): r = (-1 + 3, 1 + 4), |r|^2 = 29.
  const double ratio = 5 / std::sqrt(29);
  EXPECT_NEAR(w[0][0].item<double>(), 3 - 0.5 * ratio * 2, 1e-14);
  EXPECT_NEAR(w[0][1].item<double>(), 4 - 0.5 * ratio * 5, 1e-14);
}

void expect_each_layer_moves_by_its_share(torch::Dtype type, double tolerance) {
  LayerDraws draw;
  const auto layers = some_layers(draw, type);
  LAMB lamb(layers, LAMBOptions(0.25).weight_decay(0.3).adapt_vectors(true));
  for (int step = 0; step < 4; ++step) {
    const auto before = copies_of(layers);
    set_gradients(layers, draw);
    lamb.step();
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const double share = norm_of(layers[i] - before[i]) / norm_of(before[i]);
      EXPECT_NEAR(share, 0.25, tolerance) << type << ", " << i;
    }
  }
}

TEST(LAMB, MovesEachLayerByTheRateTimesItsLength) {
  expect_each_layer_moves_by_its_share(torch::kFloat64, 1e-13);
  expect_each_layer_moves_by_its_share(torch::kFloat32, 1e-6);
}

TEST(LAMB, MovesAVeryLongOrShortLayerByItsShare) {
  // Whose squares a double does not hold.
  for (const double length : {1e200, 1e-200}) {
    auto w = lamb_layer({3 * length, 4 * length});
    LAMB lamb({w}, LAMBOptions(0.25).eps(0));
    w.mutable_grad() = torch::ones_like(w);
    lamb.step();
    const double moved = 0.25 * 5 * length / std::sqrt(2);
    EXPECT_NEAR(w[0][0].item<double>() / (3 * length - moved), 1, 1e-13);
  }
}

// Without a scale it is Adam, which LibTorch has.
void expect_steps_as_adam(
    const torch::Tensor& start, const LAMBOptions& options, double decay) {
  LayerDraws draw;
  auto w = start.clone().set_requires_grad(true);
  auto reference = start.clone().set_requires_grad(true);
  LAMB lamb({w}, options);
  torch::optim::AdamW adam(
      {reference},
      torch::optim::AdamWOptions(options.lr())
          .betas(options.betas())
          .eps(options.eps())
          .weight_decay(decay));
  for (int step = 0; step < 20; ++step) {
    w.mutable_grad() = draw(w.sizes());
    reference.mutable_grad() = w.grad().clone();
    lamb.step();
    adam.step();
  }
  EXPECT_GT((w - start).abs().min().item<double>(), 1e-4);
  EXPECT_LT((w - reference).abs().max().item<double>(), 1e-13);
}

TEST(LAMB, StepsAVectorAsAdamWithoutDecay) {
  LayerDraws draw;
  expect_steps_as_adam(draw({7}), LAMBOptions(0.01).weight_decay(0.5), 0);
  expect_steps_as_adam(draw({}), LAMBOptions(0.01).weight_decay(0.5), 0);
}

TEST(LAMB, StepsAGroupThatDoesNotAdaptAsAdamW) {
  LayerDraws draw;
  expect_steps_as_adam(
      draw({7, 2}), LAMBOptions(0.01).weight_decay(0.5).adapt(false), 0.5);
  expect_steps_as_adam(
      draw({7}),
      LAMBOptions(0.01).weight_decay(0.5).adapt(false).adapt_vectors(true),
      0.5);
}

TEST(LAMB, StepsWithARatioOfOneFromZeroAndToNowhere) {
  auto w = lamb_layer({0, 0});
  auto still = lamb_layer({3, 4});
  LAMB lamb({w, still}, LAMBOptions(0.25).eps(0.5));
  w.mutable_grad() = vector_of({0.5, -0.5}).view({1, 2});
  still.mutable_grad() = torch::zeros_like(still);
  lamb.step();
  EXPECT_DOUBLE_EQ(w[0][0].item<double>(), -0.125);
  EXPECT_DOUBLE_EQ(w[0][1].item<double>(), 0.125);
  EXPECT_TRUE(torch::equal(still, lamb_layer({3, 4})));
}

TEST(LAMB, KeepsTheRatioWithinItsBound) {
  const auto moved_by = [](double bound) {
    auto w = lamb_layer({30, 40});
    LAMB lamb({w}, LAMBOptions(0.25).eps(0).max_trust_ratio(bound));
    w.mutable_grad() = torch::ones_like(w);
    lamb.step();
    return 30 - w[0][0].item<double>();
  };
  // |w| / |r| is 50 / sqrt(2) = 35.4.
  EXPECT_NEAR(moved_by(10), 2.5, 1e-13);
  EXPECT_NEAR(moved_by(1), 0.25, 1e-13);
  EXPECT_NEAR(moved_by(36), 12.5 / std::sqrt(2), 1e-13);
}

TEST(LAMB, StepsAlikeWithEveryInstructionSetAndNumberOfThreads) {
  expect_the_same_everywhere([](torch::Dtype type) {
    LayerDraws draw;
    auto layers = some_layers(draw, type);
    LAMB lamb(layers, LAMBOptions(0.02).weight_decay(0.1));
    for (int step = 0; step < 3; ++step) {
      set_gradients(layers, draw);
      lamb.step();
    }
    auto all = copies_of(layers);
    for (std::size_t i = 0; i < layers.size(); ++i) {
      ParameterState state;
      lamb.state_access()->read(0, i, state);
      all.push_back(state.tensors[0].clone());
      all.push_back(state.tensors[1].clone());
    }
    return all;
  });
}

TEST(LAMB, StepsAlikeByTensorOperations) {
  for (const auto& [type, tolerance] :
       {std::make_pair(torch::kFloat64, 1e-13),
        std::make_pair(torch::kFloat32, 1e-5),
        // One rounding apart where the float32 values are.
        std::make_pair(torch::kBFloat16, 1.0 / 64)}) {
    const LAMBOptions options = LAMBOptions(0.02).weight_decay(0.3);
    LayerDraws draw;
    auto layers = some_layers(draw, type);
    auto others = copies_of(layers);
    LAMB lamb(layers, options);
    std::vector<torch::Tensor> means;
    std::vector<torch::Tensor> squares;
    const auto wide =
        type == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
    for (const auto& other : others) {
      means.push_back(torch::zeros_like(other, wide));
      squares.push_back(torch::zeros_like(other, wide));
    }
    for (int step = 1; step <= 5; ++step) {
      set_gradients(layers, draw);
      lamb.step();
      for (std::size_t i = 0; i < layers.size(); ++i) {
        const auto direction = LambByOperations::direction_by_operations(
            others[i], layers[i].grad(), means[i], squares[i], options, step);
        const double ratio =
            others[i].dim() < 2 ? 1 : norm_of(others[i]) / norm_of(direction);
        LambByOperations::step_by_operations(
            others[i], direction, 0.02 * ratio);
        const auto error = layers[i].detach().to(wide) - others[i].to(wide);
        EXPECT_LT(error.abs().max().item<double>(), tolerance)
            << type << ", " << i;
      }
    }
  }
}

TEST(LAMB, ShowsANaNInTheWholeLayerAndInNoOther) {
  auto w = lamb_layer({1, 2});
  auto other = lamb_layer({1, 2});
  LAMB lamb({w, other});
  w.mutable_grad() = vector_of({kNaN, 1}).view({1, 2});
  other.mutable_grad() = torch::ones_like(other);
  lamb.step();
  EXPECT_TRUE(w.isnan().all().item<bool>());
  EXPECT_TRUE(other.isfinite().all().item<bool>());
}

TEST(LAMB, ARefusedStepMovesNothing) {
  auto w = lamb_layer({1, 2});
  auto other = lamb_layer({1, 2});
  LAMB lamb({w, other});
  w.mutable_grad() = torch::ones_like(w);
  other.mutable_grad() = torch::ones_like(other);
  // Refused by the operands' check, after the gradients': it has no memory.
  {
    const torch::NoGradGuard no_grad;
    other.set_data(torch::_efficientzerotensor({1, 2}, torch::kFloat64));
  }
  EXPECT_THROW(lamb.step(), c10::Error);
  EXPECT_TRUE(torch::equal(w, lamb_layer({1, 2})));
  ParameterState state;
  lamb.state_access()->read(0, 0, state);
  EXPECT_FALSE(state.tensors.at(0).defined());
}

}  // namespace
}  // namespace stepsize::test
