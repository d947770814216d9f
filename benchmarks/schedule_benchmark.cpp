// What a scheduler costs beside a training step: evaluating a schedule, and
// stepping a scheduler of ours and LibTorch's own. Run it as
//
//     build/release/bin/schedule_benchmark
//
// The argument of the step benchmarks is the number of parameter groups.
#include <benchmark/benchmark.h>
#include <stepsize/lr_scheduler/cosine_annealing_lr.h>
#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/lr_scheduler/step_lr.h>
#include <stepsize/schedule/cycle.h>
#include <stepsize/schedule/parse.h>
#include <stepsize/schedule/ramp.h>
#include <stepsize/schedule/schedule.h>
#include <torch/optim/schedulers/step_lr.h>
#include <torch/optim/sgd.h>
#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace {

constexpr int64_t kLength = 10000;

torch::optim::SGD make_optimizer(int64_t group_count) {
  std::vector<torch::optim::OptimizerParamGroup> groups;
  for (int64_t i = 0; i < group_count; ++i) {
    groups.emplace_back(std::vector<torch::Tensor>{torch::zeros({1})});
    groups.back().set_options(std::make_unique<torch::optim::SGDOptions>(0.1));
  }
  return torch::optim::SGD(std::move(groups), torch::optim::SGDOptions(0.1));
}

void evaluate(benchmark::State& state, const stepsize::Schedule& schedule) {
  double t = 0.0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(schedule(t));
    t = t < kLength ? t + 1.0 : 0.0;
  }
}

void BM_EvaluateCosine(benchmark::State& state) {
  evaluate(state, stepsize::cosine(kLength));
}
BENCHMARK(BM_EvaluateCosine);

void BM_EvaluateWarmupThenCosine(benchmark::State& state) {
  evaluate(
      state,
      stepsize::warmup(500).then(stepsize::cosine(kLength - 500.0, 0.1)));
}
BENCHMARK(BM_EvaluateWarmupThenCosine);

void BM_EvaluateCosineRestarts(benchmark::State& state) {
  evaluate(state, stepsize::cosine(100).repeat());
}
BENCHMARK(BM_EvaluateCosineRestarts);

void BM_Parse(benchmark::State& state) {
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        stepsize::parse("warmup 500 > cosine 9500 to 0.1"));
  }
}
BENCHMARK(BM_Parse);

template <typename Scheduler>
void step(benchmark::State& state, Scheduler& scheduler) {
  for (auto _ : state) {
    scheduler.step();
  }
  state.SetItemsProcessed(state.iterations());
}

void BM_StepLibTorchStepLR(benchmark::State& state) {
  torch::optim::SGD optimizer = make_optimizer(state.range(0));
  torch::optim::StepLR scheduler(optimizer, /*step_size=*/30, /*gamma=*/1.0);
  step(state, scheduler);
}
BENCHMARK(BM_StepLibTorchStepLR)->Arg(1)->Arg(10)->Arg(100);

void BM_StepStepLR(benchmark::State& state) {
  torch::optim::SGD optimizer = make_optimizer(state.range(0));
  stepsize::StepLR scheduler(
      optimizer, stepsize::StepLROptions(/*step_size=*/30).gamma(1.0));
  step(state, scheduler);
}
BENCHMARK(BM_StepStepLR)->Arg(1)->Arg(10)->Arg(100);

void BM_StepCosineAnnealingLR(benchmark::State& state) {
  torch::optim::SGD optimizer = make_optimizer(state.range(0));
  stepsize::CosineAnnealingLR scheduler(
      optimizer, stepsize::CosineAnnealingLROptions(kLength));
  step(state, scheduler);
}
BENCHMARK(BM_StepCosineAnnealingLR)->Arg(1)->Arg(10)->Arg(100);

void BM_StepScheduleLR(benchmark::State& state) {
  torch::optim::SGD optimizer = make_optimizer(state.range(0));
  stepsize::ScheduleLR scheduler(
      optimizer,
      stepsize::warmup(500).then(stepsize::cosine(kLength - 500.0, 0.1)));
  step(state, scheduler);
}
BENCHMARK(BM_StepScheduleLR)->Arg(1)->Arg(10)->Arg(100);

// The scale of the numbers above: one step of the smallest optimizer there is.
void BM_StepLibTorchSGD(benchmark::State& state) {
  torch::optim::SGD optimizer = make_optimizer(state.range(0));
  for (auto& group : optimizer.param_groups()) {
    for (auto& parameter : group.params()) {
      parameter.mutable_grad() = torch::zeros_like(parameter);
    }
  }
  step(state, optimizer);
}
BENCHMARK(BM_StepLibTorchSGD)->Arg(1)->Arg(10)->Arg(100);

}  // namespace

BENCHMARK_MAIN();
