#include <gtest/gtest.h>
#include <stepsize/tune/noise_scale.h>
#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/error_text.h"
#include "tests/support/numbers.h"

namespace stepsize {
namespace {

using test::kInfinity;
using test::kNaN;
using test::message_of;

// Samples of updates of `ranks` gradients of 64 examples each, drawn from
// N(G, S / 64) in ten dimensions with |G|^2 = 1 and tr S = 50.
std::vector<NoiseSample> gaussian_samples(int64_t updates, int64_t ranks) {
  const int64_t size = 10;
  const int64_t examples = 64;
  const auto gradients = torch::randn({updates, ranks, size}, torch::kDouble) *
                             std::sqrt(50.0 / size / examples) +
                         std::sqrt(1.0 / size);
  const auto squares = gradients.square().sum(2);
  const auto means = gradients.mean(1).square().sum(1);
  std::vector<NoiseSample> samples;
  for (int64_t i = 0; i < updates; ++i) {
    const auto row = squares[i].contiguous();
    const auto* first = row.data_ptr<double>();
    samples.push_back(noise_sample(
        std::vector<double>(first, first + ranks),
        means[i].item<double>(),
        examples));
  }
  return samples;
}

NoiseScale scale_of(const std::vector<NoiseSample>& samples, double decay = 1) {
  NoiseScaleAverage average(decay);
  for (const NoiseSample& sample : samples) average.add(sample);
  return average.value();
}

TEST(NoiseScale, SampleIsTheUnbiasedOneByHand) {
  // Gradients (3, 1) and (1, 1), of mean (2, 1) and sample variance 2.
  const NoiseSample one = noise_sample({10, 2}, 5, 1);
  EXPECT_DOUBLE_EQ(one.gradient_square, 4);
  EXPECT_DOUBLE_EQ(one.noise_trace, 2);
  const NoiseSample many = noise_sample({10, 2}, 5, 16);
  EXPECT_DOUBLE_EQ(many.gradient_square, 4);
  EXPECT_DOUBLE_EQ(many.noise_trace, 32);
}

TEST(NoiseScale, SampleIsTheFormulaOfMcCandlish) {
  const std::vector<double> squares = {3, 5, 4, 8};
  const double mean = 2.5;
  const double b = 16;
  const double B = 64;
  const NoiseSample sample = noise_sample(squares, mean, 16);
  EXPECT_NEAR(sample.gradient_square, (B * mean - b * 5) / (B - b), 1e-12);
  EXPECT_NEAR(sample.noise_trace, (5 - mean) / (1 / b - 1 / B), 1e-10);
}

TEST(NoiseScale, SampleTakesEqualGradientsButForRounding) {
  EXPECT_EQ(noise_sample({4, 4}, 4, 1).noise_trace, 0);
  EXPECT_NEAR(noise_sample({4, 4}, 4 * (1 + 9e-6), 1).noise_trace, 0, 1e-4);
  EXPECT_EQ(noise_sample({0, 0}, 0, 1).gradient_square, 0);
  EXPECT_THROW(noise_sample({4, 4}, 4 * (1 + 2e-5), 1), c10::Error);
}

TEST(NoiseScale, SampleOfNormsThatAreNotFiniteIsNotFinite) {
  EXPECT_FALSE(std::isfinite(noise_sample({1, kNaN}, 1, 1).noise_trace));
  EXPECT_FALSE(std::isfinite(noise_sample({1, 1}, kNaN, 1).noise_trace));
  EXPECT_FALSE(std::isfinite(noise_sample({1, kInfinity}, 1, 1).noise_trace));
  EXPECT_FALSE(std::isfinite(noise_sample({1, 1}, kInfinity, 1).noise_trace));
}

TEST(NoiseScale, QuotientOfMeansFindsTheTruthAndTheMeanOfQuotientsDoesNot) {
  torch::manual_seed(4);
  const auto samples = gaussian_samples(10000, 2);
  const NoiseScale scale = scale_of(samples);
  EXPECT_NEAR(scale.gradient_square, 1, 0.02);
  EXPECT_NEAR(scale.noise_trace, 50, 0.5);
  EXPECT_NEAR(scale.value, 50, 1);
  EXPECT_NEAR(scale.value, 50, 3 * scale.standard_error);
  double quotients = 0;
  for (const NoiseSample& sample : samples) {
    quotients += sample.noise_trace / sample.gradient_square;
  }
  EXPECT_GT(std::abs(quotients / 10000 - 50), 5);
}

TEST(NoiseScale, StandardErrorIsThatOfManyRuns) {
  for (const double decay : {1.0, 0.96}) {
    torch::manual_seed(5);
    const int64_t runs = 300;
    double mean = 0;
    double square = 0;
    for (int64_t run = 0; run < runs; ++run) {
      const NoiseScale scale = scale_of(gaussian_samples(100, 4), decay);
      mean += scale.value / runs;
      const double z = (scale.value - 50) / scale.standard_error;
      square += z * z / runs;
    }
    // The root of 2 / 300 is 0.08; few effective samples widen it a little.
    EXPECT_NEAR(square, 1.05, 0.25) << decay;
    EXPECT_NEAR(mean, 50, 0.6) << decay;
  }
}

TEST(NoiseScale, FirstSampleCountsInFull) {
  const NoiseScale scale = scale_of({{2, 6}}, 0.99);
  EXPECT_EQ(scale.gradient_square, 2);
  EXPECT_EQ(scale.noise_trace, 6);
  EXPECT_EQ(scale.value, 3);
  EXPECT_TRUE(std::isnan(scale.standard_error));
  EXPECT_EQ(scale.updates, 1);
}

TEST(NoiseScale, WeightsFallByDecay) {
  // Weights 1/4, 1/2 and 1, over their sum of 7/4.
  const NoiseScale scale = scale_of({{8, 4}, {4, 8}, {1, 2}}, 0.5);
  EXPECT_DOUBLE_EQ(scale.gradient_square, (2 + 2 + 1) / 1.75);
  EXPECT_DOUBLE_EQ(scale.noise_trace, (1 + 4 + 2) / 1.75);
}

TEST(NoiseScale, StandardErrorOfAPlainMeanIsTheClosedForm) {
  const std::vector<NoiseSample> samples = {{1, 4}, {2, 5}, {3, 9}, {2, 6}};
  const NoiseScale scale = scale_of(samples);
  EXPECT_DOUBLE_EQ(scale.value, 3);
  // Of z = a - 3 c: 1, -1, 0, 0, a sample variance of 2/3, over 4 samples.
  EXPECT_NEAR(scale.standard_error, std::sqrt(2.0 / 3 / 4) / 2, 1e-14);
}

TEST(NoiseScale, NegativeGradientSquareIsUnknownUntilTheMeanIsNot) {
  NoiseScaleAverage average(1);
  average.add({-3, 50});
  EXPECT_FALSE(average.value().known());
  EXPECT_TRUE(std::isnan(average.value().value));
  EXPECT_EQ(average.value().gradient_square, -3);
  EXPECT_EQ(
      average.value().advice(32),
      "noise scale unknown at batch 32: the noise drowns the gradient in 1 "
      "updates; a larger batch pays as far as they tell");
  average.add({5, 50});
  EXPECT_TRUE(average.value().known());
  EXPECT_EQ(average.value().value, 50);
}

TEST(NoiseScale, TradeoffIsThatOfMcCandlish) {
  // At the noise scale: twice the least steps and twice the least examples.
  const BatchTradeoff down = batch_tradeoff(64, 1'000'000'000, 64);
  EXPECT_NEAR(down.steps, 2, 1e-6);
  const BatchTradeoff up = batch_tradeoff(1e9, 1, 1'000'000'000);
  EXPECT_NEAR(up.examples, 2, 1e-6);
  const BatchTradeoff twice = batch_tradeoff(300, 100, 200);
  EXPECT_DOUBLE_EQ(twice.steps, 2.5 / 4);
  EXPECT_DOUBLE_EQ(twice.examples, (5.0 / 3) / (4.0 / 3));
  // Examples are steps times the batch.
  EXPECT_DOUBLE_EQ(twice.examples, twice.steps * 2);
}

TEST(NoiseScale, AdviceSaysWhatABatchSavesAndCosts) {
  NoiseScale scale;
  scale.gradient_square = 1;
  scale.noise_trace = 317;
  scale.value = 317;
  scale.standard_error = 20.04;
  scale.updates = 100;
  EXPECT_EQ(
      scale.advice(100),
      "noise scale 317 +- 20 at batch 100: twice the batch saves 38% of the "
      "steps and costs 24% more examples; half the batch saves 12% of the "
      "examples and costs 76% more steps");
  scale.standard_error = kNaN;
  EXPECT_EQ(
      scale.advice(1),
      "noise scale 317 at batch 1: twice the batch saves 50% of the steps and "
      "costs 0% more examples");
  EXPECT_EQ(
      NoiseScale().advice(8),
      "noise scale unknown at batch 8: no update was seen; it takes updates of "
      "two micro-batches at least");
  EXPECT_EQ(
      scale_of({{1, 0}}).advice(8),
      "noise scale 0 at batch 8: no noise; a larger batch saves no steps");
}

TEST(NoiseScale, RefusesWhatIsOutOfRange) {
  const std::vector<std::pair<std::function<void()>, std::string>> table = {
      {[] { noise_sample({1}, 1, 1); },
       "noise_sample: the number of squares must be >= 2, got 1"},
      {[] {
         noise_sample({1, 1}, 1, 0);
       },
       "noise_sample: examples must be >= 1, got 0"},
      {[] {
         noise_sample({1, -1e-9}, 0, 1);
       },
       "noise_sample: a square must be >= 0, got -1e-09"},
      {[] {
         noise_sample({1, 1}, -2, 1);
       },
       "noise_sample: mean_square must be >= 0, got -2"},
      {[] {
         noise_sample({1, 2, 3}, 18, 1);
       },
       "noise_sample: mean_square, of the mean and not of the sum, must be <= "
       "the mean of the squares = 2, got 18"},
      {[] { NoiseScaleAverage average(0); },
       "NoiseScaleAverage: decay must be in (0, 1], got 0"},
      {[] { NoiseScaleAverage average(1.5); },
       "NoiseScaleAverage: decay must be in (0, 1], got 1.5"},
      {[] {
         NoiseScaleAverage(1).add({kNaN, 1});
       },
       "NoiseScaleAverage: gradient_square must be finite, got nan"},
      {[] {
         NoiseScaleAverage(1).add({1, kInfinity});
       },
       "NoiseScaleAverage: noise_trace must be finite, got inf"},
      {[] { NoiseScale().advice(0); }, "NoiseScale: batch must be >= 1, got 0"},
      {[] { batch_tradeoff(0, 1, 1); },
       "batch_tradeoff: noise_scale must be finite and > 0, got 0"},
      {[] { batch_tradeoff(kInfinity, 1, 1); },
       "batch_tradeoff: noise_scale must be finite and > 0, got inf"},
      {[] { batch_tradeoff(1, 0, 1); },
       "batch_tradeoff: from must be >= 1, got 0"},
      {[] { batch_tradeoff(1, 1, -1); },
       "batch_tradeoff: to must be >= 1, got -1"},
  };
  for (const auto& [call, expected] : table) {
    EXPECT_EQ(message_of(call), expected);
  }
}

}  // namespace
}  // namespace stepsize
