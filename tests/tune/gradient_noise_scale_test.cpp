#include <gtest/gtest.h>
#include <stepsize/tune/gradient_noise_scale.h>
#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/archive_bytes.h"
#include "tests/support/error_text.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize {
namespace {

using test::kInfinity;
using test::kNaN;
using test::leaf;
using test::load;
using test::message_of;
using test::saved;

void set_gradient(torch::Tensor& parameter, const std::vector<double>& values) {
  parameter.mutable_grad() =
      torch::tensor(values, torch::kDouble).to(parameter.scalar_type());
}

// One update of the gradients (3, 1) and (1, 1): |G|^2 = 4 and tr S = 2.
void add_known_update(GradientNoiseScale& noise, torch::Tensor& parameter) {
  noise.begin_update();
  set_gradient(parameter, {3, 1});
  noise.add_micro_batch();
  set_gradient(parameter, {4, 2});
  noise.add_micro_batch();
  EXPECT_TRUE(noise.finish_update());
}

TEST(GradientNoiseScale, FindsTheNoiseScaleOfALinearRegression) {
  // x ~ N(0, 1) in ten dimensions, y = noise of variance 3.9, the loss half the
  // square of w.x - y with |w| = 1. So G = w, tr S = 11 + 39 = 50, and a
  // coordinate's share of tr S is 4.9 + w_i^2.
  torch::manual_seed(6);
  auto first = torch::full({3}, std::sqrt(0.2), torch::kDouble);
  auto other = torch::full({7}, std::sqrt(0.4 / 7), torch::kDouble);
  first.requires_grad_(true);
  other.requires_grad_(true);
  torch::optim::SGD sgd(
      std::vector<torch::optim::OptimizerParamGroup>{
          torch::optim::OptimizerParamGroup({first}),
          torch::optim::OptimizerParamGroup({other})},
      torch::optim::SGDOptions(0.1));
  GradientNoiseScale noise(sgd, GradientNoiseScaleOptions(16).decay(1));
  const int64_t parts = 4;
  for (int i = 0; i < 1000; ++i) {
    sgd.zero_grad();
    noise.begin_update();
    for (int64_t part = 0; part < parts; ++part) {
      const auto x = torch::randn({16, 10}, torch::kDouble);
      const auto y = torch::randn({16}, torch::kDouble) * std::sqrt(3.9);
      const auto error = x.mv(torch::cat({first, other})) - y;
      (error.square().mean() / (2 * parts)).backward();
      noise.add_micro_batch();
    }
    EXPECT_TRUE(noise.finish_update(1.0 / parts));
  }
  const auto expect_found = [](const NoiseScale& found,
                               double gradient_square,
                               double noise_trace) {
    EXPECT_EQ(found.updates, 1000);
    EXPECT_NEAR(found.gradient_square, gradient_square, 0.08 * gradient_square);
    EXPECT_NEAR(found.noise_trace, noise_trace, 0.03 * noise_trace);
    const double truth = noise_trace / gradient_square;
    EXPECT_NEAR(found.value, truth, 3 * found.standard_error);
    EXPECT_LT(found.standard_error, 0.06 * truth);
    EXPECT_GT(found.standard_error, 0.005 * truth);
  };
  expect_found(noise.total(), 1, 50);
  expect_found(noise.group(0), 0.6, 3 * 4.9 + 0.6);
  expect_found(noise.group(1), 0.4, 7 * 4.9 + 0.4);
}

TEST(GradientNoiseScale, SplitsTheGrowingSumByHandInEveryType) {
  for (const auto type :
       {torch::kDouble, torch::kFloat, torch::kHalf, torch::kBFloat16}) {
    auto parameter = torch::zeros({2}, type).requires_grad_(true);
    GradientNoiseScale noise({{parameter}}, 1);
    for (int i = 0; i < 3; ++i) add_known_update(noise, parameter);
    EXPECT_DOUBLE_EQ(noise.total().gradient_square, 4) << type;
    // That nothing was rounded here cannot be seen from outside: by hand, the
    // units of the last digits are, in units of 2^-10 (2^-7 for bfloat16), 2
    // and 1 of (3, 1), then 1 and 1 of (1, 1) and 4 and 2 of its sums.
    const double unit = type == torch::kHalf       ? 0x1p-10
                        : type == torch::kBFloat16 ? 0x1p-7
                                                   : 0;
    const double squares =
        (4 + 1) + (1 + 1) + (4 * 4 + 2 * 1) + (2 * 2 + 2 * 1);
    const double rounding = squares * unit * unit / 12 / 2;
    EXPECT_DOUBLE_EQ(noise.total().noise_trace, 2 - rounding) << type;
    EXPECT_NEAR(noise.total().value, 0.5 - rounding / 4, 1e-9) << type;
    EXPECT_NEAR(noise.total().standard_error, rounding / 2 / 4, 1e-9) << type;
    // The gradients are as they were.
    EXPECT_EQ(parameter.grad()[0].item<double>(), 4) << type;
  }
}

// True N = 0.01 of micro-batches whose gradients are G + noise; added up as
// autograd adds them up, in their own type.
TEST(GradientNoiseScale, FindsTheSameInEveryType) {
  constexpr double kTruth = 0.01;
  constexpr int64_t kElements = 20000;
  for (const int64_t micro_batch : {1, 8, 64}) {
    for (const int64_t parts : {2, 4, 16}) {
      for (const auto type :
           {torch::kDouble, torch::kFloat, torch::kHalf, torch::kBFloat16}) {
        torch::manual_seed(1);
        const auto g = torch::randn({kElements}, torch::kDouble);
        const double stddev = std::sqrt(
            kTruth * g.square().mean().item<double>() /
            static_cast<double>(micro_batch));
        auto parameter = torch::zeros({kElements}, type).requires_grad_(true);
        GradientNoiseScale noise(
            {{parameter}}, GradientNoiseScaleOptions(micro_batch).decay(1));
        for (int update = 0; update < 5; ++update) {
          parameter.mutable_grad() = torch::Tensor();
          noise.begin_update();
          for (int64_t i = 0; i < parts; ++i) {
            const auto added = ((g + stddev * torch::randn_like(g)) /
                                static_cast<double>(parts))
                                   .to(type);
            if (parameter.grad().defined()) {
              parameter.mutable_grad().add_(added);
            } else {
              parameter.mutable_grad() = added;
            }
            noise.add_micro_batch();
          }
          noise.finish_update(1.0 / static_cast<double>(parts));
        }
        const NoiseScale found = noise.total();
        SCOPED_TRACE(
            std::string(c10::toString(type)) + ", " + std::to_string(parts) +
            " micro-batches of " + std::to_string(micro_batch));
        EXPECT_NEAR(found.value, kTruth, 4 * found.standard_error);
        // Without the correction bfloat16 gives 0.0103, 0.0120 and 0.025 of 16
        // micro-batches of 1, 8 and 64. Of 64 most of what is left is rounding.
        const double share = micro_batch == 64 ? 0.25 : 0.02;
        EXPECT_NEAR(found.value, kTruth, share * kTruth);
        if (type == torch::kDouble || type == torch::kFloat) {
          EXPECT_LT(found.standard_error, 0.005 * kTruth);
        }
      }
    }
  }
}

TEST(GradientNoiseScale, FactorOfTheLossDropsOut) {
  auto parameter = leaf({0, 0});
  GradientNoiseScale noise({{parameter}}, 1);
  for (const double factor : {0.5, 1024.0}) {
    noise.begin_update();
    set_gradient(parameter, {3 * factor, factor});
    noise.add_micro_batch();
    set_gradient(parameter, {4 * factor, 2 * factor});
    noise.add_micro_batch();
    noise.finish_update(factor);
  }
  EXPECT_DOUBLE_EQ(noise.total().gradient_square, 4);
  EXPECT_DOUBLE_EQ(noise.total().value, 0.5);
}

TEST(GradientNoiseScale, MicroBatchesOfDifferentSizesAreUnbiased) {
  // Every sign of noise of variance 6 / 1 and 6 / 3 about G = 2, once.
  auto parameter = leaf({0});
  GradientNoiseScale noise(
      {{parameter}}, GradientNoiseScaleOptions(1).decay(1));
  for (const double one : {1.0, -1.0}) {
    for (const double three : {1.0, -1.0}) {
      const double g = 2 + one * std::sqrt(6.0);
      noise.begin_update();
      set_gradient(parameter, {g});
      noise.add_micro_batch();
      set_gradient(parameter, {g + 2 + three * std::sqrt(2.0)});
      noise.add_micro_batch(3);
      noise.finish_update();
    }
  }
  EXPECT_NEAR(noise.total().gradient_square, 4, 1e-12);
  EXPECT_NEAR(noise.total().noise_trace, 6, 1e-12);
}

TEST(GradientNoiseScale, UndefinedGradientsCountAsZeros) {
  auto parameter = leaf({0, 0});
  auto never = leaf({1});
  auto late = leaf({1});
  GradientNoiseScale noise({{parameter, never, late}, {never}}, 1);
  noise.begin_update();
  set_gradient(parameter, {3, 1});
  noise.add_micro_batch();
  set_gradient(parameter, {4, 2});
  set_gradient(late, {2});
  noise.add_micro_batch();
  EXPECT_TRUE(noise.finish_update());
  // (3, 1, 0) and (1, 1, 2): a product of 4, and half the square of (2, 0, -2).
  EXPECT_DOUBLE_EQ(noise.group(0).gradient_square, 4);
  EXPECT_DOUBLE_EQ(noise.group(0).noise_trace, 4);
  EXPECT_FALSE(noise.group(1).known());
  // What was there in the update before is not taken for this one's.
  late.mutable_grad() = torch::Tensor();
  add_known_update(noise, parameter);
  EXPECT_DOUBLE_EQ(noise.group(0).gradient_square, 4);
}

TEST(GradientNoiseScale, NonFiniteUpdateIsCountedAndLeftOut) {
  auto parameter = leaf({0, 0});
  auto other = leaf({0});
  GradientNoiseScale noise({{parameter}, {other}}, 1);
  add_known_update(noise, parameter);
  for (const double bad : {kNaN, kInfinity}) {
    noise.begin_update();
    set_gradient(other, {bad});
    set_gradient(parameter, {3, 1});
    noise.add_micro_batch();
    set_gradient(other, {1});
    noise.add_micro_batch();
    EXPECT_FALSE(noise.finish_update());
  }
  EXPECT_EQ(noise.non_finite_updates(), 2);
  EXPECT_EQ(noise.total().updates, 1);
  EXPECT_EQ(noise.group(0).updates, 1);
  // Nothing of it is left behind.
  other.mutable_grad() = torch::Tensor();
  add_known_update(noise, parameter);
  EXPECT_EQ(noise.total().updates, 2);
  EXPECT_DOUBLE_EQ(noise.total().value, 0.5);
}

TEST(GradientNoiseScale, UpdateOfOneMicroBatchIsCountedAndLeftOut) {
  auto parameter = leaf({0, 0});
  GradientNoiseScale noise({{parameter}}, 1);
  noise.begin_update();
  EXPECT_FALSE(noise.finish_update());
  noise.begin_update();
  set_gradient(parameter, {1, 1});
  noise.add_micro_batch();
  EXPECT_FALSE(noise.finish_update());
  EXPECT_EQ(noise.short_updates(), 2);
  EXPECT_EQ(noise.total().updates, 0);
}

TEST(GradientNoiseScale, DiscardedUpdateLeavesNothingBehind) {
  auto parameter = leaf({0, 0});
  GradientNoiseScale noise({{parameter}}, 1);
  add_known_update(noise, parameter);
  const std::string before = saved(noise);
  noise.begin_update();
  set_gradient(parameter, {70, 1});
  noise.add_micro_batch();
  set_gradient(parameter, {-5, 20});
  noise.add_micro_batch();
  noise.discard_update();
  EXPECT_EQ(saved(noise), before);
  add_known_update(noise, parameter);
  EXPECT_EQ(noise.total().updates, 2);
  EXPECT_EQ(noise.short_updates(), 0);
  EXPECT_DOUBLE_EQ(noise.total().gradient_square, 4);
  EXPECT_DOUBLE_EQ(noise.total().value, 0.5);
  // Between updates there is none to give up.
  noise.discard_update();
  EXPECT_EQ(noise.total().updates, 2);
}

TEST(GradientNoiseScale, RanksWithImpossibleNormsChangeNothing) {
  auto noise = GradientNoiseScale::of_ranks(2, 16);
  noise.add_ranks({{{10, 2}, 5}, {{10, 2}, 5}});
  const std::string before = saved(noise);
  // 20 is the square of the sum of two gradients whose mean has 5.
  EXPECT_EQ(
      message_of([&] {
        noise.add_ranks({{{10, 2}, 5}, {{10, 2}, 20}});
      }),
      "noise_sample: mean_square, of the mean and not of the sum, must be <= "
      "the mean of the squares = 6, got 20");
  EXPECT_EQ(
      message_of([&] {
        noise.add_ranks({{{-10, 20}, 5}, {{10, 2}, 5}});
      }),
      "noise_sample: a square must be >= 0, got -10");
  EXPECT_EQ(saved(noise), before);
}

TEST(GradientNoiseScale, RanksTellTheSameAsMicroBatches) {
  auto noise = GradientNoiseScale::of_ranks(2, 16);
  EXPECT_TRUE(noise.add_ranks({{{10, 2}, 5}, {{10, 2}, 5}}));
  EXPECT_DOUBLE_EQ(noise.group(1).gradient_square, 4);
  EXPECT_DOUBLE_EQ(noise.group(1).noise_trace, 32);
  EXPECT_DOUBLE_EQ(noise.total().gradient_square, 8);
  EXPECT_DOUBLE_EQ(noise.total().value, 8);
  EXPECT_FALSE(noise.add_ranks({{{10, 2}, 5}, {{10, kNaN}, 5}}));
  EXPECT_EQ(noise.non_finite_updates(), 1);
  EXPECT_EQ(noise.group(0).updates, 1);
}

TEST(GradientNoiseScale, GoesOnBitForBitFromTheMidstOfAnUpdate) {
  auto parameter = leaf({0, 0});
  auto never = leaf({0});
  GradientNoiseScale noise({{parameter, never}}, 1);
  GradientNoiseScale resumed({{parameter, never}}, 1);
  torch::manual_seed(7);
  const auto micro_batch = [&] {
    const auto fresh = torch::randn({2}, torch::kDouble);
    parameter.mutable_grad() =
        parameter.grad().defined() ? parameter.grad() + fresh : fresh;
  };
  for (int i = 0; i < 5; ++i) {
    parameter.mutable_grad() = torch::Tensor();
    noise.begin_update();
    for (int part = 0; part < 3; ++part) {
      micro_batch();
      noise.add_micro_batch(part + 1);
    }
    if (i < 4) noise.finish_update();
  }
  load(resumed, saved(noise));
  EXPECT_EQ(saved(resumed), saved(noise));
  micro_batch();
  for (auto* meter : {&noise, &resumed}) {
    meter->add_micro_batch();
    EXPECT_TRUE(meter->finish_update());
  }
  EXPECT_EQ(saved(resumed), saved(noise));
  EXPECT_EQ(resumed.total().value, noise.total().value);
  EXPECT_EQ(resumed.total().standard_error, noise.total().standard_error);
  EXPECT_EQ(resumed.total().updates, 5);
}

TEST(GradientNoiseScale, LoadingWhatDoesNotFitChangesNothing) {
  auto parameter = leaf({0, 0});
  GradientNoiseScale writer({{parameter}}, 4);
  set_gradient(parameter, {1, 1});
  writer.begin_update();
  writer.add_micro_batch();
  const std::string bytes = saved(writer);
  const auto refuses = [&](GradientNoiseScale&& reader, const char* why) {
    const std::string before = saved(reader);
    const std::string message = message_of([&] { load(reader, bytes); });
    EXPECT_NE(message.find(why), std::string::npos) << message;
    EXPECT_EQ(saved(reader), before);
  };
  refuses(GradientNoiseScale({{parameter}}, 5), "other options or groups");
  refuses(
      GradientNoiseScale({{parameter}, {parameter}}, 4),
      "other options or groups");
  refuses(
      GradientNoiseScale({{leaf({1, 2, 3})}}, 4),
      "does not fit the parameters of group 0");
  refuses(
      GradientNoiseScale({{torch::zeros({2}, torch::kFloat)}}, 4),
      "does not fit the parameters of group 0");
  auto same = GradientNoiseScale({{leaf({1, 2})}}, 4);
  EXPECT_ANY_THROW(load(same, saved(torch::ones({1}))));
}

TEST(GradientNoiseScale, RefusesGradientsThatItCannotFollow) {
  auto parameter = leaf({0, 0});
  GradientNoiseScale noise({{parameter}}, 1);
  set_gradient(parameter, {1, 1});
  noise.begin_update();
  noise.add_micro_batch();
  parameter.mutable_grad() = torch::Tensor();
  const std::string before = saved(noise);
  EXPECT_EQ(
      message_of([&] { noise.add_micro_batch(); }),
      "GradientNoiseScale: the gradient of parameter 0 of group 0 has gone in "
      "the midst of an update: call finish_update() or discard_update() "
      "first");
  EXPECT_EQ(saved(noise), before);
  noise.finish_update();
  parameter.mutable_grad() = torch::ones({2}, torch::kDouble).to_sparse();
  EXPECT_EQ(
      message_of([&] { noise.add_micro_batch(); }),
      "GradientNoiseScale: the gradient of parameter 0 of group 0 must be "
      "dense and of a floating type");
}

// Two updates that are taken for one give numbers wrong by the square of
// their parts, and nothing in the gradients tells.
TEST(GradientNoiseScale, AnUpdateIsBegunAndEnded) {
  auto parameter = leaf({0, 0});
  GradientNoiseScale noise({{parameter}}, 1);
  set_gradient(parameter, {3, 1});
  const std::string before = saved(noise);
  EXPECT_EQ(
      message_of([&] { noise.add_micro_batch(); }),
      "GradientNoiseScale: add_micro_batch() outside an update: call "
      "begin_update() first");
  EXPECT_EQ(
      message_of([&] { noise.finish_update(); }),
      "GradientNoiseScale: finish_update() outside an update: call "
      "begin_update() first");
  EXPECT_EQ(saved(noise), before);
  noise.begin_update();
  noise.add_micro_batch();
  const std::string begun = saved(noise);
  EXPECT_EQ(
      message_of([&] { noise.begin_update(); }),
      "GradientNoiseScale: begin_update() in the midst of an update of 1 "
      "micro-batches: call finish_update() or discard_update() first");
  EXPECT_EQ(saved(noise), begun);
  GradientNoiseScale resumed({{parameter}}, 1);
  load(resumed, begun);
  EXPECT_ANY_THROW(resumed.begin_update());
  noise.discard_update();
  add_known_update(noise, parameter);
  EXPECT_EQ(noise.total().updates, 1);
}

TEST(GradientNoiseScale, RefusesWhatIsOutOfRange) {
  const auto parameter = leaf({0});
  using Options = GradientNoiseScaleOptions;
  const auto with = [&](const Options& options) {
    return [=] { GradientNoiseScale({{parameter}}, options); };
  };
  auto ranks = GradientNoiseScale::of_ranks(1, 1);
  GradientNoiseScale meter({{parameter}}, 1);
  const std::vector<std::pair<std::function<void()>, std::string>> table = {
      {with(Options(0)), "micro_batch must be >= 1, got 0"},
      {with(Options(1).decay(0)), "decay must be in (0, 1], got 0"},
      {with(Options(1).decay(kNaN)), "decay must be in (0, 1], got nan"},
      {[] { GradientNoiseScale::of_ranks(0, 1); },
       "num_groups must be >= 1, got 0"},
      {[] { GradientNoiseScale({{torch::Tensor()}}, 1); },
       "parameters must be defined; number 0 of group 0 is not"},
      {[&] { meter.add_micro_batch(0); }, "examples must be >= 1, got 0"},
      {[&] { meter.finish_update(0); }, "factor must be finite and > 0, got 0"},
      {[&] { meter.group(1); }, "group must be in [0, 1), got 1"},
      {[&] { ranks.add_micro_batch(); },
       "made by of_ranks(), it watches no parameters: use add_ranks()"},
      {[&] { ranks.add_ranks({}); }, "ranks must tell of 1 groups, got 0"},
  };
  for (const auto& [call, expected] : table) {
    EXPECT_EQ(message_of(call), "GradientNoiseScale: " + expected);
  }
  EXPECT_EQ(
      message_of([&] {
        ranks.add_ranks({{{1}, 1}});
      }),
      "noise_sample: the number of squares must be >= 2, got 1");
}

}  // namespace
}  // namespace stepsize
