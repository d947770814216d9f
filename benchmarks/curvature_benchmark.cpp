// What a Hessian-vector product costs beside a gradient. Run it as
//
//     build/release/bin/curvature_benchmark
//         --benchmark_repetitions=9 --benchmark_report_aggregates_only
//
// and compare the medians of one network: Gradient is the loss and
// torch::autograd::grad, Backward the loss and backward() after zero_grad(), as
// a training step has it, DoubleBackward the bare torch::autograd::grad on a
// kept graph; Exact, OneSided and Central are products of stepsize's operators.
// FourApart and FourTogether are four exact products with retain_graph(false),
// by apply() and by apply_block(), TraceApart and TraceTogether the trace of
// eight samples. The number of a network is its batch size.
#include <benchmark/benchmark.h>
#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/hutchinson.h>
#include <stepsize/curvature/lanczos.h>
#include <stepsize/curvature/linear_operator.h>
#include <stepsize/curvature/power_iteration.h>
#include <torch/csrc/autograd/autograd.h>

#include <cstdint>
#include <string>
#include <vector>

#include "networks.h"

namespace {

using stepsize::HessianMethod;
using stepsize::HessianOptions;
using stepsize::TensorVector;
using stepsize::benchmarks::make_cnn;
using stepsize::benchmarks::make_mlp;
using stepsize::benchmarks::Problem;

TensorVector random_vector(const Problem& problem) {
  TensorVector v;
  for (const torch::Tensor& parameter : problem.parameters()) {
    v.push_back(torch::randn_like(parameter));
  }
  return v;
}

void gradient(benchmark::State& state, Problem problem) {
  const TensorVector parameters = problem.parameters();
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        torch::autograd::grad({problem.loss()}, parameters));
  }
}

void backward(benchmark::State& state, Problem problem) {
  for (auto _ : state) {
    problem.net->zero_grad();
    problem.loss().backward();
  }
}

void double_backward(benchmark::State& state, Problem problem) {
  const TensorVector parameters = problem.parameters();
  const TensorVector v = random_vector(problem);
  const TensorVector gradients = torch::autograd::grad(
      {problem.loss()}, parameters, {}, /*retain_graph=*/true, true);
  for (auto _ : state) {
    benchmark::DoNotOptimize(
        torch::autograd::grad(gradients, parameters, v, /*retain_graph=*/true));
  }
}

void product(benchmark::State& state, Problem problem, HessianMethod method) {
  const auto op = stepsize::hessian_operator(
      [&problem] { return problem.loss(); },
      problem.parameters(),
      HessianOptions().method(method).buffers(problem.net->buffers()));
  const TensorVector v = random_vector(problem);
  for (auto _ : state) {
    benchmark::DoNotOptimize(op.apply(v));
  }
}

// Makes its graph anew for each product, or for each block of them.
stepsize::HessianOperator without_graph(Problem& problem) {
  return stepsize::hessian_operator(
      [&problem] { return problem.loss(); },
      problem.parameters(),
      HessianOptions()
          .method(HessianMethod::kExact)
          .retain_graph(false)
          .buffers(problem.net->buffers()));
}

void four_products(benchmark::State& state, Problem problem, bool together) {
  const auto op = without_graph(problem);
  std::vector<TensorVector> vectors;
  for (int i = 0; i < 4; ++i) vectors.push_back(random_vector(problem));
  for (auto _ : state) {
    if (together) {
      benchmark::DoNotOptimize(op.apply_block(vectors));
    } else {
      for (const TensorVector& v : vectors) {
        benchmark::DoNotOptimize(op.apply(v));
      }
    }
  }
  state.counters["products"] = 4;
}

void trace(benchmark::State& state, Problem problem, bool together) {
  const auto hessian = without_graph(problem);
  // An operator of one function shares nothing.
  const auto apart = stepsize::function_operator(
      hessian.like(),
      [&hessian](const TensorVector& v) { return hessian.apply(v); });
  const stepsize::LinearOperator op =
      together ? stepsize::LinearOperator(hessian) : apart;
  const auto options = stepsize::HutchinsonOptions().samples(8);
  for (auto _ : state) {
    benchmark::DoNotOptimize(stepsize::hutchinson_trace(op, options).value);
  }
  state.counters["products"] = 8;
}

// What the algorithms add to their products.
void power_iterations(benchmark::State& state, Problem problem) {
  const auto op = stepsize::hessian_operator(
      [&problem] { return problem.loss(); }, problem.parameters());
  const auto options =
      stepsize::PowerIterationOptions().max_iterations(20).tolerance(0);
  for (auto _ : state) {
    benchmark::DoNotOptimize(stepsize::power_iteration(op, options).value);
  }
  state.counters["products"] = 20;
}

void lanczos_steps(benchmark::State& state, Problem problem) {
  const auto op = stepsize::hessian_operator(
      [&problem] { return problem.loss(); }, problem.parameters());
  const auto options =
      stepsize::LanczosOptions().max_iterations(20).tolerance(0);
  for (auto _ : state) {
    benchmark::DoNotOptimize(stepsize::lanczos(op, options).values);
  }
  state.counters["products"] = 20;
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
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
  };
  add("Gradient", gradient);
  add("Backward", backward);
  add("DoubleBackward", double_backward);
  add("Exact", product, HessianMethod::kExact);
  add("OneSided", product, HessianMethod::kFiniteDifference);
  add("Central", product, HessianMethod::kCentralDifference);
  add("FourApart", four_products, false);
  add("FourTogether", four_products, true);
  add("TraceApart", trace, false);
  add("TraceTogether", trace, true);
  add("PowerIterations", power_iterations);
  add("LanczosSteps", lanczos_steps);
}

}  // namespace

int main(int argc, char** argv) {
  register_all("MLP", make_mlp, 128);
  register_all("MLP", make_mlp, 512);
  register_all("CNN", make_cnn, 128);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
