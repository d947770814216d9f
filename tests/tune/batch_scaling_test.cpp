#include <gtest/gtest.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/tune/batch_scaling.h>
#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize {
namespace {

using test::kInfinity;
using test::kNaN;
using test::leaf;
using test::message_of;

TEST(BatchScaling, LinearRuleGivesTheRatesOfGoyal) {
  // 0.1 at 256 is 3.2 at 8192 (Goyal et al. 2017).
  EXPECT_DOUBLE_EQ(scale_lr(0.1, 256, 8192, BatchRule::linear()), 3.2);
}

TEST(BatchScaling, LinearRuleKeepsWhatAnExampleMovesAtTheBeginning) {
  // x after 64 examples of a linear loss with slope 3, in updates of 4 and 16.
  const auto moved = [](int64_t batch) {
    const double lr = scale_lr(0.01, 4, batch, BatchRule::linear());
    double x = 0;
    for (int64_t seen = 0; seen < 64; seen += batch) x -= lr * 3;
    return x;
  };
  EXPECT_NEAR(moved(16), moved(4), 1e-12);
  EXPECT_NEAR(moved(2), moved(4), 1e-12);
}

// Variance of one SGD update from 0 by the mean of `batch` noises of N(0, 2).
double update_variance(double lr, int64_t batch) {
  torch::manual_seed(1);
  const int64_t count = 40000;
  auto x = torch::zeros({count}, torch::kDouble).requires_grad_(true);
  torch::optim::SGD sgd({x}, torch::optim::SGDOptions(lr));
  const auto noise = torch::randn({batch, count}, torch::kDouble) * 2;
  x.mutable_grad() = noise.mean(0);
  sgd.step();
  return x.detach().square().mean().item<double>();
}

TEST(BatchScaling, SquareRootRuleKeepsTheVarianceOfAnUpdate) {
  const double base = update_variance(0.1, 4);
  EXPECT_NEAR(base, 0.01 * 4 / 4, 3e-4);
  for (const int64_t batch : {1, 16, 64}) {
    const double lr = scale_lr(0.1, 4, batch, BatchRule::square_root());
    // Each estimate is off by 0.7%, the root of 2 / 40000.
    EXPECT_NEAR(update_variance(lr, batch) / base, 1, 0.04) << batch;
  }
  // With the linear rule it would be four times as large at 16.
  const double linear = scale_lr(0.1, 4, 16, BatchRule::linear());
  EXPECT_NEAR(update_variance(linear, 16) / base, 4, 0.16);
}

TEST(BatchScaling, NoiseScaleRuleGivesTheRateThatGainsMostInAStep) {
  // In one dimension: loss x^2 / 2, gradient x + noise of variance s^2 / B. The
  // expected loss after a step is ((1 - lr)^2 x^2 + lr^2 s^2 / B) / 2, and N is
  // s^2 / x^2.
  const double x = 0.7;
  const double s = 3;
  const double noise = s * s / (x * x);
  const auto loss_after = [&](double lr, int64_t batch) {
    return (1 - lr) * (1 - lr) * x * x + lr * lr * s * s / batch;
  };
  const double base_lr = noise_scale_lr(1.0, noise, 8);
  for (const int64_t batch : {1, 8, 100}) {
    const double lr =
        scale_lr(base_lr, 8, batch, BatchRule::noise_scale(noise));
    EXPECT_NEAR(lr, noise_scale_lr(1.0, noise, batch), 1e-15);
    EXPECT_LT(loss_after(lr, batch), loss_after(lr * 1.001, batch));
    EXPECT_LT(loss_after(lr, batch), loss_after(lr * 0.999, batch));
  }
  EXPECT_DOUBLE_EQ(noise_scale_lr(0.4, 64, 64), 0.2);
}

TEST(BatchScaling, NoiseScaleRuleIsLinearFarBelowAndConstantFarAbove) {
  const auto ratio = [](double noise) {
    return scale_lr(1.0, 32, 64, BatchRule::noise_scale(noise));
  };
  EXPECT_NEAR(ratio(1e9), 2, 1e-6);
  EXPECT_NEAR(ratio(1e-6), 1, 1e-6);
  EXPECT_EQ(ratio(0), 1);
}

TEST(BatchScaling, AdamRuleGivesTheNumbersOfMalladi) {
  const AdamSettings four = scale_adam({1e-3, 0.9, 0.999, 1e-8}, 256, 1024);
  EXPECT_DOUBLE_EQ(four.lr, 2e-3);
  EXPECT_DOUBLE_EQ(four.beta1, 0.6);
  EXPECT_DOUBLE_EQ(four.beta2, 0.996);
  EXPECT_DOUBLE_EQ(four.eps, 5e-9);
  const AdamSettings back = scale_adam(four, 1024, 256);
  EXPECT_DOUBLE_EQ(back.lr, 1e-3);
  EXPECT_DOUBLE_EQ(back.beta1, 0.9);
  EXPECT_DOUBLE_EQ(back.beta2, 0.999);
  EXPECT_DOUBLE_EQ(back.eps, 1e-8);
}

// Mean square of how far Adam drifts in 12000 examples of pure noise, with an
// eps as large as the noise of a batch of 4.
double adam_drift(const AdamSettings& settings, int64_t batch) {
  torch::manual_seed(2);
  auto x = torch::zeros({5000}, torch::kFloat).requires_grad_(true);
  torch::optim::Adam adam(
      {x},
      torch::optim::AdamOptions(settings.lr)
          .betas(std::make_tuple(settings.beta1, settings.beta2))
          .eps(settings.eps));
  x.mutable_grad() = torch::zeros({5000});
  for (int64_t seen = 0; seen < 12000; seen += batch) {
    x.mutable_grad().normal_(0, 1 / std::sqrt(static_cast<double>(batch)));
    adam.step();
  }
  return x.detach().square().mean().item<double>();
}

TEST(BatchScaling, AdamRuleKeepsTheDriftOverTheExamplesSeen) {
  const AdamSettings base{1e-3, 0.98, 0.998, 0.5};
  const double at_4 = adam_drift(base, 4);
  const double at_16 = adam_drift(scale_adam(base, 4, 16), 16);
  // Each is off by 2%, the root of 2 / 5000.
  EXPECT_NEAR(at_16 / at_4, 1, 0.08);
  // The rate alone, and eps left as it was, are not enough.
  AdamSettings half = scale_adam(base, 4, 16);
  half.eps = base.eps;
  EXPECT_LT(adam_drift(half, 16) / at_4, 0.6);
}

TEST(BatchScaling, AdamRuleLeavesNoMomentumAsItIs) {
  EXPECT_EQ(scale_adam({1e-3, 0, 0.99, 0}, 1, 4).beta1, 0);
  EXPECT_EQ(scale_adam({1e-3, 0.9, 0, 0}, 7, 7).beta2, 0);
}

TEST(BatchScaling, EffectiveRateIsWhatASteadyGradientMovesInTheLongRun) {
  auto x = leaf({0});
  torch::optim::SGD sgd({x}, torch::optim::SGDOptions(0.01).momentum(0.75));
  double before = 0;
  for (int i = 0; i < 200; ++i) {
    before = x.item<double>();
    x.mutable_grad() = torch::ones({1}, torch::kDouble);
    sgd.step();
  }
  EXPECT_NEAR(before - x.item<double>(), effective_lr(0.01, 0.75), 1e-12);
  EXPECT_DOUBLE_EQ(nominal_lr(effective_lr(0.3, 0.9), 0.9), 0.3);
}

TEST(BatchScaling, ScalesTheRateOfEveryGroupOfAnOptimizer) {
  using torch::optim::OptimizerParamGroup;
  using torch::optim::SGDOptions;
  std::vector<OptimizerParamGroup> groups;
  groups.emplace_back(
      std::vector<torch::Tensor>{leaf({1})}, std::make_unique<SGDOptions>(0.5));
  groups.emplace_back(
      std::vector<torch::Tensor>{leaf({2})},
      std::make_unique<SGDOptions>(0.25));
  torch::optim::SGD sgd(groups, SGDOptions(0.1));
  scale_lr(sgd, 16, 64, BatchRule::square_root());
  EXPECT_EQ(sgd.param_groups()[0].options().get_lr(), 1.0);
  EXPECT_EQ(sgd.param_groups()[1].options().get_lr(), 0.5);
  ClippedSGD clipped({leaf({1})}, ClippedSGDOptions(0.5).momentum(0.9));
  scale_lr(clipped, 16, 64, BatchRule::linear());
  EXPECT_EQ(clipped.param_groups()[0].options().get_lr(), 2.0);
}

template <typename Optimizer, typename Options>
void expect_adam_scaled() {
  Optimizer optimizer({leaf({1})}, Options(1e-3).weight_decay(0.3));
  scale_lr(optimizer, 256, 1024, BatchRule::adam_sde());
  const auto& options =
      static_cast<const Options&>(optimizer.param_groups()[0].options());
  EXPECT_DOUBLE_EQ(options.lr(), 2e-3);
  EXPECT_DOUBLE_EQ(std::get<0>(options.betas()), 0.6);
  EXPECT_DOUBLE_EQ(std::get<1>(options.betas()), 0.996);
  EXPECT_DOUBLE_EQ(options.eps(), 5e-9);
  EXPECT_EQ(options.weight_decay(), 0.3);
}

TEST(BatchScaling, ScalesBetasAndEpsOfAdamAndItsKin) {
  expect_adam_scaled<torch::optim::Adam, torch::optim::AdamOptions>();
  expect_adam_scaled<torch::optim::AdamW, torch::optim::AdamWOptions>();
  expect_adam_scaled<ClippedAdamW, ClippedAdamWOptions>();
}

TEST(BatchScaling, RefusedOptimizerIsUnchanged) {
  using torch::optim::AdamOptions;
  using torch::optim::OptimizerParamGroup;
  std::vector<OptimizerParamGroup> groups;
  groups.emplace_back(
      std::vector<torch::Tensor>{leaf({1})},
      std::make_unique<AdamOptions>(1e-3));
  groups.emplace_back(
      std::vector<torch::Tensor>{leaf({2})},
      std::make_unique<AdamOptions>(
          AdamOptions(1e-3).betas(std::make_tuple(0.5, 0.999))));
  torch::optim::Adam adam(groups, AdamOptions(1e-3));
  const auto refused =
      message_of([&] { scale_lr(adam, 1, 4, BatchRule::adam_sde()); });
  EXPECT_EQ(
      refused,
      "scale_adam: batch / base_batch * (1 - beta1) must be < 1, got 4 * 0.5 = "
      "2: no average is that short");
  EXPECT_EQ(adam.param_groups()[0].options().get_lr(), 1e-3);

  torch::optim::SGD sgd({leaf({1})}, torch::optim::SGDOptions(0.5));
  EXPECT_NE(
      message_of([&] {
        scale_lr(sgd, 1, 2, BatchRule::adam_sde());
      }).find("the options of group 0 are of another class"),
      std::string::npos);
}

TEST(BatchScaling, RefusesWhatIsOutOfRange) {
  const auto linear = BatchRule::linear();
  const AdamSettings sound{1e-3, 0.9, 0.999, 1e-8};
  const auto adam = [&](double AdamSettings::*member, double value) {
    AdamSettings settings = sound;
    settings.*member = value;
    return [settings] { scale_adam(settings, 1, 2); };
  };
  const std::vector<std::pair<std::function<void()>, std::string>> table = {
      {[&] { scale_lr(-1, 1, 2, linear); },
       "scale_lr: lr must be finite and >= 0, got -1"},
      {[&] { scale_lr(kNaN, 1, 2, linear); },
       "scale_lr: lr must be finite and >= 0, got nan"},
      {[&] { scale_lr(1, 0, 2, linear); },
       "scale_lr: base_batch must be >= 1, got 0"},
      {[&] { scale_lr(1, 1, -2, linear); },
       "scale_lr: batch must be >= 1, got -2"},
      {[&] { BatchRule::noise_scale(kInfinity); },
       "BatchRule: noise_scale must be finite and >= 0, got inf"},
      {[&] { BatchRule::noise_scale(-1); },
       "BatchRule: noise_scale must be finite and >= 0, got -1"},
      {adam(&AdamSettings::lr, kInfinity),
       "scale_adam: lr must be finite and >= 0, got inf"},
      {adam(&AdamSettings::beta1, 1),
       "scale_adam: beta1 must be in [0, 1), got 1"},
      {adam(&AdamSettings::beta2, -0.5),
       "scale_adam: beta2 must be in [0, 1), got -0.5"},
      {adam(&AdamSettings::eps, kNaN),
       "scale_adam: eps must be finite and >= 0, got nan"},
      {[&] { noise_scale_lr(-1, 1, 1); },
       "noise_scale_lr: lr_max must be finite and >= 0, got -1"},
      {[&] { noise_scale_lr(1, kNaN, 1); },
       "noise_scale_lr: noise_scale must be finite and >= 0, got nan"},
      {[&] { noise_scale_lr(1, 1, 0); },
       "noise_scale_lr: batch must be >= 1, got 0"},
      {[&] { effective_lr(1, 1); },
       "effective_lr: momentum must be in [0, 1), got 1"},
      {[&] { effective_lr(kInfinity, 0); },
       "effective_lr: lr must be finite and >= 0, got inf"},
      {[&] { nominal_lr(1, -0.1); },
       "nominal_lr: momentum must be in [0, 1), got -0.1"},
  };
  for (const auto& [call, expected] : table) {
    EXPECT_EQ(message_of(call), expected);
  }
  EXPECT_NE(
      message_of([&] {
        scale_lr(1, 1, 2, BatchRule::adam_sde());
      }).find("use scale_adam()"),
      std::string::npos);
}

}  // namespace
}  // namespace stepsize
