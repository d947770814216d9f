// The way that other devices than the CPU take, on CPU tensors: LibTorch's
// operators against the loops.
#include <gtest/gtest.h>
#include <stepsize/kernels/grad_norm.h>

#include "csrc/kernels/aten_adam.h"
#include "csrc/kernels/aten_ops.h"
#include "csrc/kernels/aten_sgd.h"
#include "tests/kernels/support/problem.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using detail::DeviceList;
using detail::Route;

std::vector<Route> routes() {
  if (detail::has_fused_operators()) return {Route::kForeach, Route::kFused};
  return {Route::kForeach};
}

// LibTorch 2.6's fused operators are wrong for the half types on a CPU.
bool can_take(Route route, torch::Dtype type) {
  return route == Route::kForeach || type == torch::kFloat ||
         type == torch::kDouble;
}

/// Empty tensors never come this way.
Tensors start_params(torch::Dtype type) {
  Tensors params;
  for (const torch::Tensor& param : random_params(type)) {
    if (param.numel() > 0) params.push_back(param);
  }
  return params;
}

DeviceList list_of(const SGDRun& run, const Tensors& grads) {
  DeviceList list = {};
  list.params = run.params;
  list.grads = grads;
  list.states[0] = run.buffers;
  return list;
}

DeviceList list_of(const AdamRun& run, const Tensors& grads) {
  DeviceList list = {};
  list.params = run.params;
  list.grads = grads;
  list.states[0] = run.means;
  list.states[1] = run.squares;
  list.states[2] = run.max_squares;
  return list;
}

void step_aten(
    SGDRun& run,
    const Tensors& grads,
    const torch::Tensor& scale,
    Route route) {
  const torch::NoGradGuard no_grad;
  const bool first = run.count == 0 && !run.buffers.empty();
  detail::aten_sgd_step(list_of(run, grads), first, run.h, scale, route);
  ++run.count;
}

void step_aten(
    AdamRun& run,
    const Tensors& grads,
    const torch::Tensor& scale,
    Route route) {
  const torch::NoGradGuard no_grad;
  ++run.count;
  detail::aten_adam_step(list_of(run, grads), run.count, run.h, scale, route);
}

Tensors written(const SGDRun& run) {
  Tensors all = run.params;
  all.insert(all.end(), run.buffers.begin(), run.buffers.end());
  return all;
}

Tensors written(const AdamRun& run) {
  Tensors all = run.params;
  for (const Tensors& list : {run.means, run.squares, run.max_squares}) {
    all.insert(all.end(), list.begin(), list.end());
  }
  return all;
}

// A few units in the last place a step, over ten steps; a fused operator keeps
// its bias corrections in the type of the parameters.
double tolerance_of(torch::Dtype type) {
  if (type == torch::kDouble) return 1e-13;
  if (type == torch::kFloat) return 3e-6;
  return type == torch::kHalf ? 5e-3 : 4e-2;
}

template <typename Run, typename Hyperparameters>
void compare_with_loops(const std::vector<Hyperparameters>& all) {
  for (const Route route : routes()) {
    for (const torch::Dtype type : kTypes) {
      if (!can_take(route, type)) continue;
      for (const bool scaled : {false, true}) {
        for (const Hyperparameters& h : all) {
          SCOPED_TRACE(to_text(h) + (route == Route::kFused ? " fused" : ""));
          torch::manual_seed(9);
          const auto scale =
              scaled ? torch::tensor(0.3, torch::kDouble) : torch::Tensor();
          Run loops(start_params(type), h);
          Run operators(loops.params, h);
          for (int i = 0; i < 10; ++i) {
            const Tensors grads = random_grads(loops.params);
            const Tensors before = clones(grads);
            loops.step(grads, scale);
            step_aten(operators, grads, scale, route);
            expect_same(grads, before);
          }
          expect_close(written(operators), written(loops), tolerance_of(type));
        }
      }
    }
  }
}

TEST(AtenRoute, SGDAgreesWithTheLoops) {
  compare_with_loops<SGDRun>(all_sgd_hyperparameters());
}

TEST(AtenRoute, AdamAgreesWithTheLoops) {
  compare_with_loops<AdamRun>(all_adam_hyperparameters());
}

TEST(AtenRoute, HalfTypesAreScaledInFloat32) {
  for (const torch::Dtype type : {torch::kBFloat16, torch::kHalf}) {
    torch::manual_seed(3);
    SGDHyperparameters h;
    h.lr = 1.0;
    SGDRun loops(start_params(type), h);
    SGDRun operators(loops.params, h);
    const Tensors grads = random_grads(loops.params);
    // Neither type holds it: the nearest bfloat16 is 0.99609375.
    const auto scale = torch::tensor(0.997, torch::kDouble);
    loops.step(grads, scale);
    step_aten(operators, grads, scale, Route::kForeach);
    expect_same(operators.params, loops.params);
    EXPECT_FALSE(detail::fits_fused_operators(list_of(operators, grads)));
  }
  SGDRun single(start_params(torch::kFloat), {});
  EXPECT_TRUE(detail::fits_fused_operators(
      list_of(single, random_grads(single.params))));
}

// A scale that is not finite skips the step, first or not; without a look at
// it.
template <typename Run, typename Hyperparameters>
void expect_skips(const std::vector<Hyperparameters>& all) {
  for (const Route route : routes()) {
    for (const torch::Dtype type : {torch::kFloat, torch::kDouble}) {
      for (const Hyperparameters& h : all) {
        // The last one is Inf in float32.
        for (const double bad : {kNaN, kInfinity, 1e39}) {
          for (const int good_steps : {0, 2}) {
            SCOPED_TRACE(to_text(h) + (route == Route::kFused ? " fused" : ""));
            Run run(start_params(type), h);
            const auto one = torch::tensor(1.0, torch::kDouble);
            for (int i = 0; i < good_steps; ++i) {
              step_aten(run, random_grads(run.params), one, route);
            }
            const Tensors before = clones(written(run));
            Tensors grads = random_grads(run.params);
            grads[1].fill_(kInfinity);
            step_aten(run, grads, torch::tensor(bad, torch::kDouble), route);
            expect_same(written(run), before);
            run.step(grads, torch::tensor(bad, torch::kDouble));
            expect_same(written(run), before);
          }
        }
      }
    }
  }
}

TEST(AtenRoute, SGDSkipsWithoutAFiniteScale) {
  expect_skips<SGDRun>(all_sgd_hyperparameters());
}

TEST(AtenRoute, AdamSkipsWithoutAFiniteScale) {
  std::vector<AdamHyperparameters> all = all_adam_hyperparameters();
  all.push_back(all.front());
  all.back().eps = 0.0;
  expect_skips<AdamRun>(all);
}

// In float64 alone: a rounding may turn the sign of a product near 0, and with
// it a whole update.
TEST(AtenRoute, CautiousAdamAgreesWithTheLoops) {
  for (const AdamHyperparameters& h : all_cautious_hyperparameters()) {
    SCOPED_TRACE(to_text(h));
    torch::manual_seed(9);
    const auto scale = torch::tensor(0.3, torch::kDouble);
    AdamRun loops(start_params(torch::kDouble), h);
    AdamRun operators(loops.params, h);
    for (int i = 0; i < 10; ++i) {
      const Tensors grads = random_grads(loops.params);
      loops.step(grads, scale);
      step_aten(operators, grads, scale, Route::kForeach);
    }
    expect_close(written(operators), written(loops), 1e-13);
  }
}

TEST(AtenRoute, WideStateOfHalfTypes) {
  for (const torch::Dtype type : {torch::kBFloat16, torch::kHalf}) {
    torch::manual_seed(9);
    AdamHyperparameters h;
    AdamRun loops(start_params(type), h);
    loops.means = zeros_like(loops.params, torch::kFloat);
    loops.squares = zeros_like(loops.params, torch::kFloat);
    AdamRun operators(loops.params, h);
    operators.means = zeros_like(loops.params, torch::kFloat);
    operators.squares = zeros_like(loops.params, torch::kFloat);
    for (int i = 0; i < 10; ++i) {
      const Tensors grads = random_grads(loops.params);
      loops.step(grads);
      step_aten(operators, grads, {}, Route::kForeach);
    }
    // The state sees no rounding to the half type.
    expect_close(operators.means, loops.means, 1e-6);
    expect_close(operators.squares, loops.squares, 1e-6);
    expect_close(operators.params, loops.params, tolerance_of(type));
  }
}

TEST(AtenRoute, TakesNonDenseTensors) {
  SGDRun contiguous({torch::randn({6, 4})}, {});
  contiguous.h.lr = 0.5;
  SGDRun strided(contiguous.params, contiguous.h);
  strided.params[0] = torch::zeros({6, 8}).slice(1, 0, 8, 2);
  strided.params[0].copy_(contiguous.params[0]);
  const Tensors grads = {torch::randn({4, 6}).t()};
  contiguous.step(grads);
  step_aten(strided, grads, {}, Route::kForeach);
  expect_close(strided.params, contiguous.params, 1e-7);
}

TEST(DeviceLists, PutTogetherWhatOneCallCanTake) {
  const auto a = torch::ones({2});
  const auto b = torch::ones({3}, torch::kDouble);
  const auto empty = torch::ones({0});
  detail::DeviceLists lists;
  lists.add({{&a, &a}, 2}, 0);
  lists.add({{&b, &b}, 2}, 0);
  lists.add({{&a, &a}, 2}, 0);
  lists.add({{&a, &a}, 2}, 1);
  lists.add({{&empty, &empty}, 2}, 0);
  ASSERT_EQ(lists.lists().size(), 3);
  EXPECT_EQ(lists.lists()[0].params.size(), 2);
  EXPECT_EQ(lists.lists()[1].params.size(), 1);
  EXPECT_EQ(lists.lists()[2].tag, 1);
}

}  // namespace
}  // namespace stepsize::test
