// Batch sizes and the noise of gradients.

#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/ramp.h>
#include <stepsize/tune/batch_scaling.h>
#include <stepsize/tune/batch_size_schedule.h>
#include <stepsize/tune/gradient_noise_scale.h>
#include <stepsize/tune/noise_scale.h>

#include <limits>

#include "tests/hardening/option_table.h"
#include "tests/support/leaf.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

void plan_with(const BatchSizeScheduleOptions& options) {
  const BatchSizeSchedule plan(cosine(20, 0.01), options);
  plan.at(1e300);
  plan.at_update(kMostCount);
  plan.lr_factor(3, kMostCount);
}

void add_schedule(OptionTable& table) {
  using Options = BatchSizeScheduleOptions;
  OptionCases(table, "BatchSizeScheduleOptions", "BatchSizeSchedule")
      .count(
          "base_batch",
          kNotCount,
          {1, 64},
          [](int64_t v) { plan_with(Options(v, 64)); })
      .count(
          "max_batch",
          {7, 0, -1, INT64_MIN, 1'000'000'001, kMostCount},
          {8, 1'000'000'000},
          [](int64_t v) { plan_with(Options(8, v)); })
      .count(
          "max_micro_batch",
          kNegativeCount,
          {0, 1, kMostCount},
          [](int64_t v) { plan_with(Options(8, 64).max_micro_batch(v)); })
      .count(
          "multiple_of",
          {0, -1, INT64_MIN, 33, kMostCount},
          {1, 8},
          [](int64_t v) {
            plan_with(Options(8, 64).max_micro_batch(32).multiple_of(v));
          })
      .count("base_batch", {9}, {16}, [](int64_t v) {
        plan_with(Options(v, 64).multiple_of(8));
      });
  OptionCases(table, "BatchSizeScheduleOptions", "BatchSizeSchedule")
      .refuses(
          "base_batch",
          text_of(kMostCount),
          {"base_batch", text_of(kMostCount)},
          [] { plan_with(Options(kMostCount, 64)); });
  const BatchSizeSchedule fine(cosine(20, 0.01), Options(8, 64));
  OptionCases(table, "BatchSizeSchedule", "BatchSizeSchedule")
      .number(
          "t",
          {-1, -kSmallest, kNaN, -kInfinity},
          {0, kInfinity},
          [fine](double v) { fine.at(v); })
      .count(
          "n",
          kNegativeCount,
          {0, kMostCount},
          [fine](int64_t v) { fine.at_update(v); })
      .count(
          "batch",
          kNotCount,
          {1, kMostCount},
          [fine](int64_t v) { fine.lr_factor(1, v); })
      .number("length", {1e8 + 1, 1e300}, {0, 100}, [](double v) {
        BatchSizeSchedule(constant().limit(v), Options(8, 64));
      });
}

void add_meter(OptionTable& table) {
  using Options = GradientNoiseScaleOptions;
  const auto use = [](const Options& options) {
    const torch::Tensor w = leaf({1, 2});
    GradientNoiseScale meter({{w}}, options);
    for (int i = 0; i < 8; ++i) {
      w.mutable_grad() = torch::full_like(w, i % 2 + 1);
      meter.begin_update();
      meter.add_micro_batch();
      w.mutable_grad() = torch::full_like(w, i + 3);
      meter.add_micro_batch();
      meter.finish_update();
    }
    meter.total().value;
  };
  OptionCases cases(table, "GradientNoiseScaleOptions", "GradientNoiseScale");
  cases
      .count(
          "micro_batch",
          kNotCount,
          {1, kMostCount},
          [use](int64_t v) { use(Options(v)); })
      .number("decay", kNotShareOverZero, {kSmallest, 1}, [use](double v) {
        use(Options(4).decay(v));
      });
  OptionCases meter(table, "GradientNoiseScale", "GradientNoiseScale");
  meter
      .count(
          "examples",
          kNotCount,
          {1, kMostCount},
          [](int64_t v) {
            const torch::Tensor w = leaf({1});
            w.mutable_grad() = torch::ones_like(w);
            GradientNoiseScale fresh({{w}}, Options(4));
            fresh.begin_update();
            fresh.add_micro_batch(v);
          })
      .number("factor", kNotPositive, {kSmallest, kHuge}, [](double v) {
        GradientNoiseScale fresh({{leaf({1})}}, Options(4));
        fresh.begin_update();
        fresh.finish_update(v);
      });
}

void add_numbers(OptionTable& table) {
  OptionCases(table, "NoiseScaleAverage", "NoiseScaleAverage")
      .number("decay", kNotShareOverZero, {kSmallest, 1}, [](double v) {
        NoiseScaleAverage average(v);
        for (int i = 0; i < 4; ++i) average.add({1.0 + i, 2.0});
        average.value();
      });
  OptionCases(table, "noise_sample", "noise_sample")
      .count(
          "examples",
          kNotCount,
          {1, kMostCount},
          [](int64_t v) {
            noise_sample({1, 2}, 1, v);
          })
      .number("mean_square", {-1, 3, kHuge}, {0, 1.5, kNaN}, [](double v) {
        noise_sample({1, 2}, v, 4);
      });
  OptionCases(table, "batch_tradeoff", "batch_tradeoff")
      .number(
          "noise_scale",
          kNotPositive,
          {kSmallest, kHuge},
          [](double v) { batch_tradeoff(v, 2, 4); })
      .count(
          "from",
          kNotCount,
          {1, kMostCount},
          [](int64_t v) { batch_tradeoff(5, v, 4); })
      .count("to", kNotCount, {1, kMostCount}, [](int64_t v) {
        batch_tradeoff(5, 4, v);
      });
  OptionCases(table, "NoiseScale", "NoiseScale")
      .count("batch", kNotCount, {1, kMostCount}, [](int64_t v) {
        NoiseScale().advice(v);
      });
}

void add_scaling(OptionTable& table) {
  const auto linear_rule = BatchRule::linear();
  OptionCases(table, "scale_lr", "scale_lr")
      .number(
          "lr",
          kNegative,
          {0, kHuge},
          [=](double v) { scale_lr(v, 2, 4, linear_rule); })
      .count(
          "base_batch",
          kNotCount,
          {1, kMostCount},
          [=](int64_t v) { scale_lr(0.1, v, 4, linear_rule); })
      .count("batch", kNotCount, {1, kMostCount}, [=](int64_t v) {
        scale_lr(0.1, 4, v, linear_rule);
      });
  OptionCases(table, "BatchRule", "BatchRule")
      .number("noise_scale", kNegative, {0, kHuge}, [](double v) {
        BatchRule::noise_scale(v);
      });
  const auto adam = [](double lr, double beta1, double beta2, double eps) {
    scale_adam({lr, beta1, beta2, eps}, 4, 4);
  };
  OptionCases(table, "AdamSettings", "scale_adam")
      .number(
          "lr", kNegative, {0, kHuge}, [=](double v) { adam(v, 0.9, 0.9, 0); })
      .number(
          "beta1",
          kNotBelowOne,
          {0, kBelowOne},
          [=](double v) { adam(1, v, 0.9, 0); })
      .number(
          "beta2",
          kNotBelowOne,
          {0, kBelowOne},
          [=](double v) { adam(1, 0.9, v, 0); })
      .number("eps", kNegative, {0, kHuge}, [=](double v) {
        adam(1, 0.9, 0.9, v);
      });
  OptionCases(table, "noise_scale_lr", "noise_scale_lr")
      .number(
          "lr_max",
          kNegative,
          {0, kHuge},
          [](double v) { noise_scale_lr(v, 5, 4); })
      .number(
          "noise_scale",
          kNegative,
          {0, kHuge},
          [](double v) { noise_scale_lr(1, v, 4); })
      .count("batch", kNotCount, {1, kMostCount}, [](int64_t v) {
        noise_scale_lr(1, 5, v);
      });
  OptionCases(table, "effective_lr", "effective_lr")
      .number(
          "lr", kNegative, {0, kHuge}, [](double v) { effective_lr(v, 0.9); })
      .number("momentum", kNotBelowOne, {0, kBelowOne}, [](double v) {
        effective_lr(0.1, v);
      });
  OptionCases(table, "nominal_lr", "nominal_lr")
      .number(
          "effective_lr",
          kNegative,
          {0, kHuge},
          [](double v) { nominal_lr(v, 0.9); })
      .number("momentum", kNotBelowOne, {0, kBelowOne}, [](double v) {
        nominal_lr(0.1, v);
      });
}

}  // namespace

OptionTable batch_table() {
  OptionTable table;
  add_schedule(table);
  add_meter(table);
  add_numbers(table);
  add_scaling(table);
  return table;
}

}  // namespace stepsize::test
