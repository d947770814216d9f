// What a training step costs with each optimizer, forward and backward pass
// included, beside LibTorch's SGD on the same network. Run it as
//
//     build/release/bin/optim_benchmark
//         --benchmark_repetitions=9 --benchmark_report_aggregates_only
//
// The number of a network is its batch size. PowerMethodSGD is timed after its
// first hundred steps, when it measures every ten; `products` are those a step.
// A row that ends with 500 is so many steps from the first on, with all that a
// start costs.
#include <benchmark/benchmark.h>
#include <stepsize/optim/auto_sgd.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/optim/sgd.h>

#include <cstdint>
#include <string>

#include "networks.h"

namespace {

using stepsize::HessianMethod;
using stepsize::benchmarks::Problem;

constexpr double kRate = 0.01;
constexpr double kMomentum = 0.9;

template <typename Optimizer>
void train(benchmark::State& state, Problem& problem, Optimizer& optimizer) {
  const auto closure = [&] {
    // As zero_grad() does in LibTorch 2: nothing is filled.
    for (auto& parameter : problem.net->parameters()) {
      parameter.mutable_grad().reset();
    }
    auto loss = problem.loss();
    loss.backward();
    return loss;
  };
  for (auto _ : state) optimizer.step(closure);
}

void torch_sgd(benchmark::State& state, Problem problem) {
  torch::optim::SGD sgd(
      problem.parameters(),
      torch::optim::SGDOptions(kRate).momentum(kMomentum));
  train(state, problem, sgd);
}

void clipped_sgd(benchmark::State& state, Problem problem) {
  stepsize::ClippedSGD sgd(
      problem.parameters(),
      stepsize::ClippedSGDOptions(kRate).momentum(kMomentum));
  train(state, problem, sgd);
}

void rollback_sgd(benchmark::State& state, Problem problem) {
  stepsize::RollbackSGD sgd(
      problem.parameters(),
      stepsize::RollbackSGDOptions(kRate).momentum(kMomentum));
  train(state, problem, sgd);
}

void power_sgd(benchmark::State& state, Problem problem, HessianMethod method) {
  stepsize::PowerMethodSGD sgd(
      problem.parameters(),
      stepsize::PowerMethodSGDOptions()
          .momentum(kMomentum)
          .method(method)
          .buffers(problem.net->buffers()));
  const auto closure = [&] { return problem.loss(); };
  constexpr int kWarmUp = 100;
  for (int i = 0; i < kWarmUp; ++i) sgd.step(closure);
  const int64_t before = sgd.products();
  for (auto _ : state) sgd.step(closure);
  state.counters["products"] = benchmark::Counter(
      static_cast<double>(sgd.products() - before),
      benchmark::Counter::kAvgIterations);
}

stepsize::AutoSGD make_auto_sgd(const Problem& problem) {
  return stepsize::AutoSGD(
      problem.parameters(),
      stepsize::AutoSGDOptions().momentum(kMomentum).buffers(
          problem.net->buffers()));
}

void auto_sgd(benchmark::State& state, Problem problem) {
  auto sgd = make_auto_sgd(problem);
  const auto closure = [&] { return problem.loss(); };
  constexpr int kWarmUp = 100;
  for (int i = 0; i < kWarmUp; ++i) sgd.step(closure);
  const int64_t before = sgd.extra_losses();
  for (auto _ : state) sgd.step(closure);
  state.counters["losses"] = benchmark::Counter(
      static_cast<double>(sgd.extra_losses() - before),
      benchmark::Counter::kAvgIterations);
}

constexpr int kMany = 500;

void torch_sgd_500(benchmark::State& state, Problem problem) {
  torch::optim::SGD sgd(
      problem.parameters(),
      torch::optim::SGDOptions(kRate).momentum(kMomentum));
  const auto closure = [&] {
    for (auto& parameter : problem.net->parameters()) {
      parameter.mutable_grad().reset();
    }
    auto loss = problem.loss();
    loss.backward();
    return loss;
  };
  for (auto _ : state) {
    for (int i = 0; i < kMany; ++i) sgd.step(closure);
  }
}

void auto_sgd_500(benchmark::State& state, Problem problem) {
  const auto closure = [&] { return problem.loss(); };
  int64_t losses = 0;
  int64_t cut = 0;
  for (auto _ : state) {
    auto sgd = make_auto_sgd(problem);
    for (int i = 0; i < kMany; ++i) sgd.step(closure);
    losses += sgd.extra_losses();
    cut += sgd.cut_steps();
  }
  const auto add = [&](const char* name, int64_t count) {
    state.counters[name] = benchmark::Counter(
        static_cast<double>(count), benchmark::Counter::kAvgIterations);
  };
  add("losses", losses);
  add("cut", cut);
  state.counters["loss"] = problem.loss().item<double>();
}

void register_all(
    const std::string& name, Problem (*make)(int64_t), int64_t batch) {
  const auto add = [&](const char* what, auto function, auto... more) {
    const std::string full = name + std::to_string(batch) + "/" + what;
    benchmark::RegisterBenchmark(
        full.c_str(),
        [function, make, batch, more...](benchmark::State& state) {
          function(state, make(batch), more...);
        })
        ->Unit(benchmark::kMicrosecond)
        ->UseRealTime();
  };
  add("TorchSGD", torch_sgd);
  add("ClippedSGD", clipped_sgd);
  add("RollbackSGD", rollback_sgd);
  add("PowerMethodExact", power_sgd, HessianMethod::kExact);
  add("PowerMethodOneSided", power_sgd, HessianMethod::kFiniteDifference);
  add("AutoSGD", auto_sgd);
  add("TorchSGD500", torch_sgd_500);
  add("AutoSGD500", auto_sgd_500);
}

}  // namespace

int main(int argc, char** argv) {
  register_all("SmallMLP", stepsize::benchmarks::make_small_mlp, 128);
  register_all("MLP", stepsize::benchmarks::make_mlp, 128);
  register_all("CNN", stepsize::benchmarks::make_cnn, 128);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
