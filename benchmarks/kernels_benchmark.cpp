// A clipped training step: ours against LibTorch's clip_grad_norm_ and its own
// optimizer, and against its fused operators where the version has them for a
// CPU, side by side on the same sizes, and a plain triad for the speed of
// memory. Classes are timed as they are used, with their checks. Run it as
//
//     build/release/bin/kernels_benchmark
//
// It uses as many threads as there are cores; OMP_NUM_THREADS says otherwise.
// bytes_per_second counts what a step has to move at the least: the gradient
// for the norm, and the arrays of the update. Compare it with BM_Triad.
#include <benchmark/benchmark.h>
#include <stepsize/kernels/adam.h>
#include <stepsize/kernels/cpu_capability.h>
#include <stepsize/kernels/grad_norm.h>
#include <stepsize/kernels/sgd.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/lion.h>
#include <torch/torch.h>
#include <torch/version.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "triad.h"

namespace {

using stepsize::benchmarks::Floats;
using stepsize::benchmarks::make_floats;
using stepsize::benchmarks::on_threads;
using Tensors = std::vector<torch::Tensor>;

constexpr double kMaxNorm = 1.0;

/// Parameters with gradients, as both sides get them. The arguments of a
/// benchmark are the number of tensors and the elements of each.
Tensors make_params(
    const benchmark::State& state, torch::Dtype type = torch::kFloat) {
  Tensors params;
  for (int64_t i = 0; i < state.range(0); ++i) {
    params.push_back(torch::full({state.range(1)}, 0.5, type));
    params.back().set_requires_grad(true);
    params.back().mutable_grad() = torch::full({state.range(1)}, 0.25, type);
  }
  return params;
}

Tensors grads_of(const Tensors& params) {
  Tensors grads;
  for (const torch::Tensor& param : params) grads.push_back(param.grad());
  return grads;
}

Tensors zeros_like(const Tensors& params) {
  Tensors zeros;
  for (const torch::Tensor& param : params) {
    zeros.push_back(torch::zeros_like(param, torch::kFloat));
  }
  return zeros;
}

void set_counters(benchmark::State& state, int64_t bytes_per_param) {
  const int64_t elements = state.range(0) * state.range(1);
  state.SetBytesProcessed(state.iterations() * elements * bytes_per_param);
  state.SetItemsProcessed(state.iterations() * elements);
}

void BM_TorchSGD(benchmark::State& state) {
  const Tensors params = make_params(state);
  torch::optim::SGD sgd(params, torch::optim::SGDOptions(1e-3).momentum(0.9));
  sgd.step();
  for (auto _ : state) {
    torch::nn::utils::clip_grad_norm_(params, kMaxNorm);
    sgd.step();
  }
  set_counters(state, 24);
}

void step_sgd(benchmark::State& state, torch::Dtype type, int64_t bytes) {
  const Tensors params = make_params(state, type);
  const Tensors grads = grads_of(params);
  const Tensors buffers = zeros_like(params);
  stepsize::SGDHyperparameters numbers;
  numbers.lr = 1e-3;
  numbers.momentum = 0.9;
  for (auto _ : state) {
    const torch::Tensor norm = stepsize::global_norm(grads);
    stepsize::sgd_step(
        params,
        grads,
        buffers,
        {},
        numbers,
        stepsize::clip_coefficient(norm, kMaxNorm));
  }
  set_counters(state, bytes);
}

void BM_StepsizeSGD(benchmark::State& state) {
  step_sgd(state, torch::kFloat, 24);
}
void BM_StepsizeSGDBFloat16(benchmark::State& state) {
  step_sgd(state, torch::kBFloat16, 16);
}

void BM_TorchAdamW(benchmark::State& state) {
  const Tensors params = make_params(state);
  torch::optim::AdamW adamw(
      params, torch::optim::AdamWOptions(1e-3).weight_decay(0.01));
  adamw.step();
  for (auto _ : state) {
    torch::nn::utils::clip_grad_norm_(params, kMaxNorm);
    adamw.step();
  }
  set_counters(state, 32);
}

void step_adamw(benchmark::State& state, torch::Dtype type, int64_t bytes) {
  const Tensors params = make_params(state, type);
  const Tensors grads = grads_of(params);
  const Tensors means = zeros_like(params);
  const Tensors squares = zeros_like(params);
  stepsize::AdamHyperparameters numbers;
  numbers.weight_decay = 0.01;
  numbers.decoupled_weight_decay = true;
  std::vector<int64_t> steps(params.size(), 0);
  for (auto _ : state) {
    for (int64_t& step : steps) ++step;
    const torch::Tensor norm = stepsize::global_norm(grads);
    stepsize::adam_step(
        params,
        grads,
        means,
        squares,
        {},
        steps,
        numbers,
        stepsize::clip_coefficient(norm, kMaxNorm));
  }
  set_counters(state, bytes);
}

void BM_StepsizeAdamW(benchmark::State& state) {
  step_adamw(state, torch::kFloat, 32);
}
void BM_StepsizeAdamWBFloat16(benchmark::State& state) {
  step_adamw(state, torch::kBFloat16, 24);
}

// The classes: clipped, with no norm at all, and with state in fewer bytes.

constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <typename Optimizer, typename Options>
void step_class(
    benchmark::State& state, const Options& options, int64_t bytes) {
  const Tensors params = make_params(state);
  Optimizer optimizer(params, options);
  optimizer.step();
  for (auto _ : state) optimizer.step();
  set_counters(state, bytes);
}

stepsize::ClippedSGDOptions sgd_options(stepsize::StateType type) {
  return stepsize::ClippedSGDOptions(1e-3).momentum(0.9).state_type(type);
}
stepsize::ClippedAdamWOptions adamw_options(stepsize::StateType type) {
  return stepsize::ClippedAdamWOptions(1e-3).state_type(type);
}
template <typename Options>
Options unchecked(Options options) {
  return options.max_norm(kInfinity).non_finite(
      stepsize::NonFiniteGradient::kUnchecked);
}

template <stepsize::StateType kType>
void BM_ClippedSGD(benchmark::State& state) {
  constexpr int64_t kBytes[] = {24, 20, 18};
  step_class<stepsize::ClippedSGD>(
      state, sgd_options(kType), kBytes[static_cast<int>(kType)]);
}
template <stepsize::StateType kType>
void BM_ClippedAdamW(benchmark::State& state) {
  constexpr int64_t kBytes[] = {32, 24, 20};
  step_class<stepsize::ClippedAdamW>(
      state, adamw_options(kType), kBytes[static_cast<int>(kType)]);
}
template <stepsize::StateType kType>
void BM_UncheckedAdamW(benchmark::State& state) {
  constexpr int64_t kBytes[] = {28, 20, 16};
  step_class<stepsize::ClippedAdamW>(
      state, unchecked(adamw_options(kType)), kBytes[static_cast<int>(kType)]);
}
void BM_UncheckedSGD(benchmark::State& state) {
  step_class<stepsize::ClippedSGD>(
      state, unchecked(sgd_options(stepsize::StateType::kFloat32)), 20);
}
template <stepsize::StateType kType>
void BM_Lion(benchmark::State& state) {
  constexpr int64_t kBytes[] = {20, 16, 14};
  step_class<stepsize::Lion>(
      state,
      stepsize::LionOptions(1e-4).state_type(kType),
      kBytes[static_cast<int>(kType)]);
}

#if TORCH_VERSION_MAJOR > 2 || \
    (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 6)
#define STEPSIZE_HAS_FUSED_PEERS

// What a user of LibTorch can call: its fused operators, and for the norm the
// multi-tensor one.

torch::Tensor peer_scale(const Tensors& grads) {
  const torch::Tensor norm = torch::stack(at::_foreach_norm(grads)).norm();
  // grad_scale divides.
  return norm.div(kMaxNorm).clamp_min(1);
}

template <bool kClips>
void BM_FusedSGD(benchmark::State& state) {
  const Tensors params = make_params(state);
  const Tensors grads = grads_of(params);
  const Tensors buffers = zeros_like(params);
  const torch::NoGradGuard no_grad;
  for (auto _ : state) {
    at::_fused_sgd_(
        params,
        grads,
        buffers,
        0,
        0.9,
        1e-3,
        0,
        false,
        false,
        false,
        kClips ? std::optional<torch::Tensor>(peer_scale(grads))
               : std::nullopt);
  }
  set_counters(state, kClips ? 24 : 20);
}

template <bool kClips>
void BM_FusedAdamW(benchmark::State& state) {
  const Tensors params = make_params(state);
  const Tensors grads = grads_of(params);
  const Tensors means = zeros_like(params);
  const Tensors squares = zeros_like(params);
  Tensors steps;
  for (std::size_t i = 0; i < params.size(); ++i) {
    steps.push_back(torch::zeros({}));
  }
  const torch::NoGradGuard no_grad;
  for (auto _ : state) {
    at::_foreach_add_(steps, 1);
    at::_fused_adamw_(
        params,
        grads,
        means,
        squares,
        {},
        steps,
        1e-3,
        0.9,
        0.999,
        0.01,
        1e-8,
        false,
        false,
        kClips ? std::optional<torch::Tensor>(peer_scale(grads))
               : std::nullopt);
  }
  set_counters(state, kClips ? 32 : 28);
}
#endif

void BM_TorchClip(benchmark::State& state) {
  const Tensors params = make_params(state);
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        torch::nn::utils::clip_grad_norm_(params, kMaxNorm));
  }
  set_counters(state, 12);
}

void BM_StepsizeNorm(benchmark::State& state) {
  const Tensors grads = grads_of(make_params(state));
  for (auto _ : state) {
    benchmark::DoNotOptimize(stepsize::global_norm(grads));
  }
  set_counters(state, 4);
}

void BM_Triad(benchmark::State& state) {
  stepsize::benchmarks::Triad triad(state.range(0) * state.range(1));
  for (auto _ : state) {
    triad.run();
    benchmark::ClobberMemory();
  }
  set_counters(state, 16);
}

// a = a + s b: 12 bytes an element, and no line is read that is not used.
void BM_TriadInPlace(benchmark::State& state) {
  const int64_t count = state.range(0) * state.range(1);
  const Floats a = make_floats(count, 0.0F);
  const Floats b = make_floats(count, 1.0F);
  float* to = a.get();
  const float* from = b.get();
  for (auto _ : state) {
    on_threads(count, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = to[i] + 3.0F * from[i];
    });
    benchmark::ClobberMemory();
  }
  set_counters(state, 12);
}

void sizes(benchmark::internal::Benchmark* benchmark) {
  benchmark->ArgNames({"tensors", "elements"})
      ->Args({64, 1 << 20})
      ->Args({150, 75000})
      ->Args({2000, 2048})
      ->Unit(benchmark::kMillisecond)
      ->UseRealTime()
      ->MeasureProcessCPUTime();
}

BENCHMARK(BM_Triad)->Apply(sizes);
BENCHMARK(BM_TriadInPlace)->Apply(sizes);
BENCHMARK(BM_TorchSGD)->Apply(sizes);
BENCHMARK(BM_StepsizeSGD)->Apply(sizes);
BENCHMARK(BM_StepsizeSGDBFloat16)->Apply(sizes);
BENCHMARK(BM_TorchAdamW)->Apply(sizes);
BENCHMARK(BM_StepsizeAdamW)->Apply(sizes);
BENCHMARK(BM_StepsizeAdamWBFloat16)->Apply(sizes);
using stepsize::StateType;
BENCHMARK_TEMPLATE(BM_ClippedSGD, StateType::kFloat32)->Apply(sizes);
BENCHMARK_TEMPLATE(BM_ClippedSGD, StateType::kBFloat16)->Apply(sizes);
BENCHMARK_TEMPLATE(BM_ClippedSGD, StateType::kBlockwise8Bit)->Apply(sizes);
BENCHMARK(BM_UncheckedSGD)->Apply(sizes);
BENCHMARK_TEMPLATE(BM_ClippedAdamW, StateType::kFloat32)->Apply(sizes);
BENCHMARK_TEMPLATE(BM_ClippedAdamW, StateType::kBFloat16)->Apply(sizes);
BENCHMARK_TEMPLATE(BM_ClippedAdamW, StateType::kBlockwise8Bit)->Apply(sizes);
BENCHMARK_TEMPLATE(BM_UncheckedAdamW, StateType::kFloat32)->Apply(sizes);
BENCHMARK_TEMPLATE(BM_UncheckedAdamW, StateType::kBFloat16)->Apply(sizes);
BENCHMARK_TEMPLATE(BM_UncheckedAdamW, StateType::kBlockwise8Bit)->Apply(sizes);
BENCHMARK_TEMPLATE(BM_Lion, StateType::kFloat32)->Apply(sizes);
BENCHMARK_TEMPLATE(BM_Lion, StateType::kBFloat16)->Apply(sizes);
BENCHMARK_TEMPLATE(BM_Lion, StateType::kBlockwise8Bit)->Apply(sizes);
#ifdef STEPSIZE_HAS_FUSED_PEERS
BENCHMARK_TEMPLATE(BM_FusedSGD, true)->Apply(sizes);
BENCHMARK_TEMPLATE(BM_FusedSGD, false)->Apply(sizes);
BENCHMARK_TEMPLATE(BM_FusedAdamW, true)->Apply(sizes);
BENCHMARK_TEMPLATE(BM_FusedAdamW, false)->Apply(sizes);
#endif
BENCHMARK(BM_TorchClip)->Apply(sizes);
BENCHMARK(BM_StepsizeNorm)->Apply(sizes);

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  stepsize::benchmarks::use_all_cores();
  benchmark::AddCustomContext(
      "cpu_capability", stepsize::to_string(stepsize::cpu_capability()));
  benchmark::AddCustomContext(
      "torch_threads", std::to_string(torch::get_num_threads()));
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
