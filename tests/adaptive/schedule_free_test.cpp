// The updates of the Schedule-Free optimizers; what becomes of their points
// between updates is in schedule_free_points_test.cpp.

#include <gtest/gtest.h>
#include <stepsize/adaptive/schedule_free_adamw.h>
#include <stepsize/adaptive/schedule_free_evaluation.h>
#include <stepsize/adaptive/schedule_free_sgd.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "csrc/kernels/dispatch.h"
#include "tests/adaptive/optimizer_golden.h"
#include "tests/adaptive/schedule_free.h"
#include "tests/support/leaf.h"

namespace stepsize::test {
namespace {

// The paper's equations with a buffer for each of the three points, in float64.
struct ThreeBuffers {
  torch::Tensor x;
  torch::Tensor z = x.clone();
  torch::Tensor y = x.clone();
  torch::Tensor v = torch::zeros_like(x);
  double weights = 0;
  double lr_max = 0;
  int64_t t = 0;

  struct Numbers {
    double lr;
    double beta;
    double decay;
    double warmup;
    double r;
    double power;
    double beta2 = -1;  // -1: SGD
    double eps = 0;
  };

  void step(const torch::Tensor& gradient, const Numbers& own) {
    ++t;
    torch::Tensor direction = gradient;
    if (own.beta2 >= 0) {
      v = own.beta2 * v + (1 - own.beta2) * gradient * gradient;
      const double corrected = 1 - std::pow(own.beta2, t);
      direction = gradient / ((v / corrected).sqrt() + own.eps);
    }
    direction = direction + own.decay * y;
    const double lr = own.lr * std::min(1.0, t / own.warmup);
    lr_max = std::max(lr_max, lr);
    const double weight = std::pow(t, own.r) * std::pow(lr_max, own.power);
    weights += weight;
    const double c = weight / weights;
    z = z - lr * direction;
    x = (1 - c) * x + c * z;
    y = (1 - own.beta) * z + own.beta * x;
  }
};

// Rates and betas that change from update to update, as schedulers do it.
double free_rate(int64_t t) {
  return 0.05 * (1 + 0.5 * std::sin(0.3 * static_cast<double>(t)));
}
double free_beta(int64_t t) { return t % 7 == 0 ? 0.8 : 0.92; }

void set_free_beta(ScheduleFreeAdamWOptions& options, double beta) {
  options.betas(std::make_tuple(beta, 0.97));
}
void set_free_beta(ScheduleFreeSGDOptions& options, double beta) {
  options.momentum(beta);
}

template <typename Optimizer, typename Options>
void expect_three_buffers(
    const Options& options,
    ThreeBuffers::Numbers numbers,
    torch::Dtype type,
    double tolerance) {
  ThreeBuffers reference{free_wave(1037, 0.2)};
  auto parameter = reference.x.to(type).set_requires_grad(true);
  Optimizer optimizer({parameter}, options);
  for (int64_t t = 1; t <= 60; ++t) {
    auto& own = static_cast<Options&>(optimizer.param_groups()[0].options());
    own.set_lr(free_rate(t));
    set_free_beta(own, free_beta(t));
    numbers.lr = free_rate(t);
    numbers.beta = free_beta(t);
    const auto gradient =
        0.6 * reference.y + free_wave(1037, 0.9 * static_cast<double>(t));
    parameter.mutable_grad() = gradient.to(type);
    optimizer.step();
    reference.step(gradient, numbers);
    ASSERT_LT(free_difference(parameter, reference.y), tolerance) << t;
  }
  EXPECT_LT(
      free_difference(free_state(optimizer).tensors[0], reference.z),
      tolerance);
  optimizer.eval();
  EXPECT_LT(free_difference(parameter, reference.x), 2 * tolerance);
  // All three points have parted.
  EXPECT_GT(free_difference(reference.x, reference.z), 0.01);
  EXPECT_GT(free_difference(reference.x, reference.y), 0.001);
}

ScheduleFreeSGDOptions free_sgd_options() {
  return ScheduleFreeSGDOptions()
      .weight_decay(0.05)
      .warmup_steps(12)
      .r(1.5)
      .weight_lr_power(1);
}

ScheduleFreeAdamWOptions free_adamw_options() {
  return ScheduleFreeAdamWOptions()
      .weight_decay(0.05)
      .warmup_steps(12)
      .r(1.5)
      .eps(1e-3)
      .weight_lr_power(1);
}

TEST(ScheduleFreeSGD, HasTheAuthorsDefaults) {
  const ScheduleFreeSGDOptions options;
  EXPECT_EQ(options.lr(), 1);
  EXPECT_EQ(options.momentum(), 0.9);
  EXPECT_EQ(options.weight_decay(), 0);
  EXPECT_EQ(options.warmup_steps(), 0);
  EXPECT_EQ(options.r(), 0);
  EXPECT_EQ(options.weight_lr_power(), 2);
}

TEST(ScheduleFreeAdamW, HasTheAuthorsDefaults) {
  const ScheduleFreeAdamWOptions options;
  EXPECT_EQ(options.lr(), 0.0025);
  EXPECT_EQ(options.betas(), std::make_tuple(0.9, 0.999));
  EXPECT_EQ(options.eps(), 1e-8);
  EXPECT_EQ(options.weight_decay(), 0);
  EXPECT_EQ(options.warmup_steps(), 0);
  EXPECT_EQ(options.r(), 0);
  EXPECT_EQ(options.weight_lr_power(), 2);
}

TEST(ScheduleFreeSGD, IsTheFormOfThreeBuffers) {
  const ThreeBuffers::Numbers numbers = {0, 0, 0.05, 12, 1.5, 1};
  expect_three_buffers<ScheduleFreeSGD>(
      free_sgd_options(), numbers, torch::kFloat64, 1e-13);
  expect_three_buffers<ScheduleFreeSGD>(
      free_sgd_options(), numbers, torch::kFloat32, 3e-6);
}

TEST(ScheduleFreeAdamW, IsTheFormOfThreeBuffers) {
  const ThreeBuffers::Numbers numbers = {0, 0, 0.05, 12, 1.5, 1, 0.97, 1e-3};
  expect_three_buffers<ScheduleFreeAdamW>(
      free_adamw_options(), numbers, torch::kFloat64, 1e-13);
  expect_three_buffers<ScheduleFreeAdamW>(
      free_adamw_options(), numbers, torch::kFloat32, 3e-6);
}

// The point y after each update, and the norms at x.
template <typename Optimizer, typename Options>
void expect_free_golden(const std::string& name, const Options& options) {
  expect_follows_golden(
      name, [&](const std::vector<torch::Tensor>& parameters) {
        const auto optimizer = std::make_shared<Optimizer>(parameters, options);
        return GoldenRun{
            [optimizer](GoldenProblem& problem) {
              problem.set_gradients();
              optimizer->step();
            },
            [optimizer, parameters](const std::string& number) {
              const ScheduleFreeEvaluation guard(*optimizer);
              return parameters.at(number.back() - '0')
                  .detach()
                  .to(torch::kFloat64)
                  .norm()
                  .template item<double>();
            }};
      });
}

TEST(ScheduleFreeSGD, FollowsTheReference) {
  expect_free_golden<ScheduleFreeSGD>(
      "schedule_free_sgd",
      ScheduleFreeSGDOptions(0.5)
          .momentum(0.85)
          .weight_decay(0.02)
          .warmup_steps(15));
}

TEST(ScheduleFreeAdamW, FollowsTheReference) {
  expect_free_golden<ScheduleFreeAdamW>(
      "schedule_free_adamw",
      ScheduleFreeAdamWOptions(0.02)
          .betas(std::make_tuple(0.9, 0.99))
          .weight_decay(0.1)
          .warmup_steps(20)
          .r(1.5)
          .weight_lr_power(1));
}

TEST(ScheduleFreeSGD, WeighsTheMeanByUpdateAndLargestRate) {
  auto parameter = leaf({1, -2});
  ScheduleFreeSGD optimizer(
      {parameter},
      ScheduleFreeSGDOptions(0.5).warmup_steps(4).r(2).weight_lr_power(3));
  torch::Tensor sum = torch::zeros({2}, torch::kFloat64);
  double weights = 0;
  double largest = 0;
  for (int t = 1; t <= 20; ++t) {
    // Falls after the tenth update: the largest rate so far stays.
    const double lr = (t > 10 ? 0.1 : 0.5) * std::min(1.0, t / 4.0);
    optimizer.param_groups()[0].options().set_lr(t > 10 ? 0.1 : 0.5);
    parameter.mutable_grad() = free_wave(2, t);
    optimizer.step();
    largest = std::max(largest, lr);
    const double weight = t * t * std::pow(largest, 3);
    sum += weight * free_state(optimizer).tensors[0];
    weights += weight;
  }
  optimizer.eval();
  EXPECT_LT(free_difference(parameter, sum / weights), 1e-14);
}

// A power of t or of the rate that no number holds.
TEST(ScheduleFreeSGD, TakesWeightsBeyondTheRangeOfADouble) {
  auto parameter = leaf({1, -2});
  ScheduleFreeSGD optimizer(
      {parameter},
      ScheduleFreeSGDOptions(1e-3).r(1e308).weight_lr_power(1e308));
  for (int t = 1; t <= 5; ++t) {
    parameter.mutable_grad() = free_wave(2, t);
    optimizer.step();
  }
  // The last one outweighs all others.
  optimizer.eval();
  EXPECT_LT(
      free_difference(parameter, free_state(optimizer).tensors[0]), 1e-15);
}

TEST(ScheduleFreeSGD, ARateOfZeroMovesNeitherPointNorMean) {
  auto parameter = leaf({1, -2});
  auto twin = leaf({1, -2});
  const auto options = ScheduleFreeSGDOptions(0.2).weight_decay(0.1);
  ScheduleFreeSGD optimizer({parameter}, options);
  ScheduleFreeSGD other({twin}, options);
  for (int t = 1; t <= 20; ++t) {
    // From a rate of zero on, as a warm-up of a scheduler's begins.
    optimizer.param_groups()[0].options().set_lr(t <= 3 ? 0 : 0.2);
    parameter.mutable_grad() = free_wave(2, t);
    optimizer.step();
    if (t <= 3) {
      EXPECT_TRUE(torch::equal(parameter, leaf({1, -2})));
      continue;
    }
    twin.mutable_grad() = free_wave(2, t);
    other.step();
    EXPECT_TRUE(torch::equal(parameter, twin)) << t;
  }
  const auto before = parameter.detach().clone();
  optimizer.param_groups()[0].options().set_lr(0);
  optimizer.step();
  EXPECT_TRUE(torch::equal(parameter, before));
}

// On a quadratic the last phase is stable up to 2 / ((1 - beta) curvature); the
// traits promise less, the limit of the heavy ball.
TEST(ScheduleFreeSGD, IsStableBelowTheLimitOfTheHeavyBall) {
  for (const double beta : {0.3, 0.9, 0.98}) {
    auto parameter = leaf({1});
    ScheduleFreeSGD optimizer(
        {parameter},
        ScheduleFreeSGDOptions(0.999 * (2 + 2 * beta) / 5).momentum(beta));
    for (int t = 1; t <= 20000; ++t) {
      parameter.mutable_grad() = 5 * parameter.detach();
      optimizer.step();
    }
    optimizer.eval();
    EXPECT_LT(parameter.abs().item<double>(), 0.02) << beta;
  }
}

class FreeByOperations : public ScheduleFreeSGD {
 public:
  using ScheduleFreeSGD::AveragedStep;
  using ScheduleFreeSGD::ScheduleFreeSGD;
  using ScheduleFreeSGD::step_by_operations;

 protected:
  void update_all(
      const std::vector<ParameterUpdate>& updates,
      const std::vector<AveragedStep>& steps) override {
    for (std::size_t k = 0; k < updates.size(); ++k) {
      const auto& own = updates[k];
      step_by_operations(
          own.parameter,
          own.gradient,
          own.state[0],
          static_cast<const ScheduleFreeSGDOptions&>(
              param_groups()[own.group].options()),
          steps[k]);
    }
  }
};

class FreeAdamWByOperations : public ScheduleFreeAdamW {
 public:
  using ScheduleFreeAdamW::AveragedStep;
  using ScheduleFreeAdamW::ScheduleFreeAdamW;
  using ScheduleFreeAdamW::step_by_operations;

 protected:
  void update_all(
      const std::vector<ParameterUpdate>& updates,
      const std::vector<AveragedStep>& steps) override {
    for (std::size_t k = 0; k < updates.size(); ++k) {
      const auto& own = updates[k];
      step_by_operations(
          own.parameter,
          own.gradient,
          own.state[0],
          own.state[1],
          own.step,
          static_cast<const ScheduleFreeAdamWOptions&>(
              param_groups()[own.group].options()),
          steps[k]);
    }
  }
};

// A run of any of them; a parameter that no vector divides.
template <typename Optimizer, typename Options>
std::pair<torch::Tensor, torch::Tensor> free_run(
    const Options& options, torch::Dtype type) {
  auto parameter = free_wave(1037, 0.2).to(type).set_requires_grad(true);
  Optimizer optimizer({parameter}, options);
  for (int t = 1; t <= 25; ++t) {
    parameter.mutable_grad() = free_wave(1037, 0.9 * t).to(type);
    optimizer.step();
  }
  return {parameter.detach(), free_state(optimizer).tensors[0]};
}

template <typename Loop, typename Operations, typename Options>
void expect_operations_agree(const Options& options) {
  for (const auto& [type, tolerance] :
       {std::make_pair(torch::kFloat64, 1e-13),
        std::make_pair(torch::kFloat32, 3e-6),
        // Of its spacing at 1, as the last bits of float32 may decide.
        std::make_pair(torch::kBFloat16, 1.0 / 128),
        std::make_pair(torch::kHalf, 1.0 / 1024)}) {
    const auto expected = free_run<Loop>(options, type);
    const auto got = free_run<Operations>(options, type);
    EXPECT_LE(free_difference(got.first, expected.first), tolerance) << type;
    EXPECT_EQ(got.second.scalar_type(), expected.second.scalar_type());
    EXPECT_LE(free_difference(got.second, expected.second), tolerance) << type;
  }
}

TEST(ScheduleFreeSGD, StepsByTensorOperationsAsByItsLoop) {
  expect_operations_agree<ScheduleFreeSGD, FreeByOperations>(
      free_sgd_options().lr(0.05));
}

TEST(ScheduleFreeAdamW, StepsByTensorOperationsAsByItsLoop) {
  expect_operations_agree<ScheduleFreeAdamW, FreeAdamWByOperations>(
      free_adamw_options().lr(0.05));
}

template <typename Optimizer, typename Options>
void expect_instruction_sets_agree(const Options& options) {
  const CPUCapability used = cpu_capability();
  for (const auto type :
       {torch::kFloat32, torch::kFloat64, torch::kBFloat16, torch::kHalf}) {
    detail::use_capability(CPUCapability::kBase);
    const auto expected = free_run<Optimizer>(options, type);
    for (const auto capability :
         {CPUCapability::kAVX2, CPUCapability::kAVX512}) {
      if (capability > detail::supported_capability()) continue;
      detail::use_capability(capability);
      const auto got = free_run<Optimizer>(options, type);
      EXPECT_TRUE(torch::equal(got.first, expected.first)) << type;
      EXPECT_TRUE(torch::equal(got.second, expected.second)) << type;
    }
  }
  detail::use_capability(used);
}

TEST(ScheduleFreeSGD, StepsAlikeWithEveryInstructionSet) {
  expect_instruction_sets_agree<ScheduleFreeSGD>(free_sgd_options());
}

TEST(ScheduleFreeAdamW, StepsAlikeWithEveryInstructionSet) {
  expect_instruction_sets_agree<ScheduleFreeAdamW>(free_adamw_options());
}

}  // namespace
}  // namespace stepsize::test
