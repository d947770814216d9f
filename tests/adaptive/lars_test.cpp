#include <stepsize/adaptive/lars.h>

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <memory>
#include <vector>

#include "tests/adaptive/layerwise.h"
#include "tests/adaptive/optimizer_golden.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

// Its tensor operations, on a CPU.
class LarsByOperations : public LARS {
 public:
  using LARS::step_by_operations;
};

torch::Tensor lars_layer(const std::vector<double>& values) {
  return vector_of(values).view({1, -1}).set_requires_grad(true);
}

LARSOptions golden_lars() {
  return LARSOptions(0.5).trust_coefficient(0.05).weight_decay(0.01);
}

TEST(LARS, HasThePapersDefaults) {
  const LARSOptions options;
  EXPECT_EQ(options.momentum(), 0.9);
  EXPECT_EQ(options.trust_coefficient(), 1e-3);
  EXPECT_EQ(options.eps(), 0);
  EXPECT_TRUE(options.adapt());
  EXPECT_FALSE(options.adapt_vectors());
}

TEST(LARS, FollowsThePapersEquations) {
  expect_follows_golden<LARS>("lars", golden_lars());
}

TEST(LARS, FollowsThemWithNesterovsMomentum) {
  expect_follows_golden<LARS>("lars_nesterov", golden_lars().nesterov(true));
}

TEST(LARS, StepsAsByHand) {
  auto w = lars_layer({3, 4});
  LARS lars(
      {w},
      LARSOptions(0.5).momentum(0.5).trust_coefficient(0.25).weight_decay(1));
  w.mutable_grad() = vector_of({0, 15}).view({1, 2});
  lars.step();
  // s = 5/4 / (15 + 5) = 1/16; v = (3, 19) / 16.
  EXPECT_DOUBLE_EQ(w[0][0].item<double>(), 3 - 3.0 / 32);
  EXPECT_DOUBLE_EQ(w[0][1].item<double>(), 4 - 19.0 / 32);
  w.mutable_grad() = torch::zeros_like(w);
  // Half of v, and what decays at a ratio of 1.
  lars.step();
  EXPECT_DOUBLE_EQ(
      w[0][0].item<double>(), 3 - 3.0 / 32 - 0.5 * (3.0 / 32 + (3 - 3.0 / 32)));
}

// The whole run, bit for bit where no tolerance is given.
void expect_the_length_does_not_count(
    torch::Dtype type,
    double factor,
    const LARSOptions& options,
    double tolerance = 0) {
  LayerDraws draw;
  const auto layers = some_layers(draw, type);
  auto others = copies_of(layers);
  for (auto& other : others) other.set_requires_grad(true);
  LARS lars(layers, options);
  LARS longer(others, options);
  for (int step = 0; step < 5; ++step) {
    set_gradients(layers, draw);
    for (std::size_t i = 0; i < layers.size(); ++i) {
      others[i].mutable_grad() = layers[i].grad() * factor;
    }
    lars.step();
    longer.step();
  }
  for (std::size_t i = 0; i < layers.size(); ++i) {
    EXPECT_LE((layers[i] - others[i]).abs().max().item<double>(), tolerance)
        << type << ", " << i;
  }
}

TEST(LARS, DoesNotMindTheGradientsLength) {
  const LARSOptions options =
      LARSOptions(2).trust_coefficient(0.01).adapt_vectors(true);
  for (const double factor : {0x1p20, 0x1p-40}) {
    expect_the_length_does_not_count(torch::kFloat32, factor, options);
    expect_the_length_does_not_count(torch::kFloat64, factor, options);
  }
  // Where squares leave the range of a double, they are added in other pieces.
  expect_the_length_does_not_count(torch::kFloat64, 0x1p800, options, 1e-14);
  expect_the_length_does_not_count(torch::kFloat64, 0x1p-700, options, 1e-14);
}

TEST(LARS, TakesAGradientOfTheSmallestFloats) {
  // The ratio is beyond a float32.
  auto w = torch::tensor({{3.0F, 4.0F}}).set_requires_grad(true);
  LARS lars({w}, LARSOptions(1).momentum(0).trust_coefficient(0.5));
  w.mutable_grad() = torch::tensor({{0x1p-149F, 0.0F}});
  lars.step();
  EXPECT_EQ(w[0][0].item<float>(), 0.5F);
  EXPECT_EQ(w[0][1].item<float>(), 4.0F);
}

TEST(LARS, MovesALayerByItsShareOfTheLength) {
  LayerDraws draw;
  const auto layers = some_layers(draw, torch::kFloat64);
  LARS lars(
      layers,
      LARSOptions(0.5).momentum(0).trust_coefficient(0.1).adapt_vectors(true));
  for (int step = 0; step < 3; ++step) {
    const auto before = copies_of(layers);
    set_gradients(layers, draw);
    lars.step();
    for (std::size_t i = 0; i < layers.size(); ++i) {
      EXPECT_NEAR(
          norm_of(layers[i] - before[i]) / norm_of(before[i]), 0.05, 1e-13);
    }
  }
}

void expect_steps_as_sgd(
    const torch::Tensor& start, const LARSOptions& options, double decay) {
  LayerDraws draw;
  auto w = start.clone().set_requires_grad(true);
  auto reference = start.clone().set_requires_grad(true);
  LARS lars({w}, options);
  torch::optim::SGD sgd(
      {reference},
      torch::optim::SGDOptions(options.lr())
          .momentum(options.momentum())
          .nesterov(options.nesterov())
          .weight_decay(decay));
  for (int step = 0; step < 20; ++step) {
    w.mutable_grad() = draw(w.sizes());
    reference.mutable_grad() = w.grad().clone();
    lars.step();
    sgd.step();
  }
  EXPECT_GT((w - start).abs().min().item<double>(), 1e-4);
  EXPECT_LT((w - reference).abs().max().item<double>(), 1e-13);
}

TEST(LARS, StepsAVectorAsSGDWithoutDecay) {
  LayerDraws draw;
  expect_steps_as_sgd(draw({7}), LARSOptions(0.01).weight_decay(0.5), 0);
  expect_steps_as_sgd(
      draw({}), LARSOptions(0.01).weight_decay(0.5).nesterov(true), 0);
}

TEST(LARS, StepsAGroupThatDoesNotAdaptAsSGD) {
  LayerDraws draw;
  expect_steps_as_sgd(
      draw({7, 2}), LARSOptions(0.01).weight_decay(0.5).adapt(false), 0.5);
}

TEST(LARS, StepsFromZeroWithARatioOfOne) {
  auto w = lars_layer({0, 0});
  LARS lars({w}, LARSOptions(0.25));
  w.mutable_grad() = vector_of({0.5, -1}).view({1, 2});
  lars.step();
  EXPECT_TRUE(torch::equal(w, lars_layer({-0.125, 0.25})));
}

TEST(LARS, AddsEpsToTheNormsThatDivide) {
  auto w = lars_layer({3, 4});
  LARS lars({w}, LARSOptions(1).momentum(0).trust_coefficient(1).eps(6));
  w.mutable_grad() = vector_of({4, 0}).view({1, 2});
  lars.step();
  EXPECT_DOUBLE_EQ(w[0][0].item<double>(), 1);  // 3 - 5 / (4 + 6) * 4
}

TEST(LARS, DoesNotMoveALayerWithoutTrust) {
  auto w = lars_layer({3, 4});
  LARS lars({w}, LARSOptions(1).trust_coefficient(0));
  w.mutable_grad() = torch::ones_like(w);
  lars.step();
  EXPECT_TRUE(torch::equal(w, lars_layer({3, 4})));
}

TEST(LARS, StepsAlikeWithEveryInstructionSetAndNumberOfThreads) {
  expect_the_same_everywhere([](torch::Dtype type) {
    LayerDraws draw;
    auto layers = some_layers(draw, type);
    LARS lars(
        layers,
        LARSOptions(1).trust_coefficient(0.01).weight_decay(0.1).nesterov(
            true));
    for (int step = 0; step < 3; ++step) {
      set_gradients(layers, draw);
      lars.step();
    }
    return copies_of(layers);
  });
}

TEST(LARS, StepsAlikeByTensorOperations) {
  for (const bool nesterov : {false, true}) {
    const LARSOptions options = golden_lars().nesterov(nesterov);
    LayerDraws draw;
    auto layers = some_layers(draw, torch::kFloat64);
    auto others = copies_of(layers);
    std::vector<torch::Tensor> buffers;
    for (const auto& other : others) {
      buffers.push_back(torch::zeros_like(other));
    }
    LARS lars(layers, options);
    for (int step = 0; step < 5; ++step) {
      set_gradients(layers, draw);
      lars.step();
      for (std::size_t i = 0; i < layers.size(); ++i) {
        const double length = norm_of(others[i]);
        const double ratio =
            others[i].dim() < 2
                ? 1
                : 0.05 * length / (norm_of(layers[i].grad()) + 0.01 * length);
        LarsByOperations::step_by_operations(
            others[i], layers[i].grad(), buffers[i], options, ratio);
        EXPECT_LT((layers[i] - others[i]).abs().max().item<double>(), 1e-13)
            << i;
      }
    }
  }
}

TEST(LARS, ShowsWhatIsNotFiniteInTheWholeLayerAndInNoOther) {
  for (const double bad : {kNaN, kInfinity}) {
    auto w = lars_layer({1, 2});
    auto other = lars_layer({1, 2});
    LARS lars({w, other});
    w.mutable_grad() = vector_of({bad, 1}).view({1, 2});
    other.mutable_grad() = torch::ones_like(other);
    lars.step();
    EXPECT_TRUE(w.isnan().all().item<bool>());
    EXPECT_TRUE(other.isfinite().all().item<bool>());
  }
}

}  // namespace
}  // namespace stepsize::test
