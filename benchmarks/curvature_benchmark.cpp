// What a Hessian-vector product costs beside a gradient. Run it as
//
//     build/release/bin/curvature_benchmark
//         --benchmark_repetitions=9 --benchmark_report_aggregates_only
//
// and compare the medians of one network: Gradient is the loss and
// torch::autograd::grad, Backward the loss and backward() after zero_grad(), as
// a training step has it, DoubleBackward the bare torch::autograd::grad on a
// kept graph; Exact, OneSided and Central are products of stepsize's operators.
// The number of a network is its batch size.
#include <benchmark/benchmark.h>
#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/lanczos.h>
#include <stepsize/curvature/power_iteration.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/nn.h>

#include <cstdint>
#include <string>
#include <vector>

namespace {

using stepsize::HessianMethod;
using stepsize::HessianOptions;
using stepsize::TensorVector;

// A network and one batch of images of 28 x 28 pixels.
struct Problem {
  torch::nn::Sequential net;
  torch::Tensor inputs;
  torch::Tensor classes = torch::randint(10, {inputs.size(0)}, torch::kLong);

  torch::Tensor loss() {
    return torch::cross_entropy_loss(net->forward(inputs), classes);
  }
  TensorVector parameters() const { return net->parameters(); }
  TensorVector vector() const {
    TensorVector v;
    for (const torch::Tensor& parameter : net->parameters()) {
      v.push_back(torch::randn_like(parameter));
    }
    return v;
  }
};

// 784-512-512-10, 670 thousand parameters.
Problem make_mlp(int64_t batch) {
  torch::manual_seed(1);
  return {
      torch::nn::Sequential(
          torch::nn::Linear(784, 512),
          torch::nn::Tanh(),
          torch::nn::Linear(512, 512),
          torch::nn::Tanh(),
          torch::nn::Linear(512, 10)),
      torch::randn({batch, 784})};
}

// Three convolutions with BatchNorm, 24 thousand parameters.
Problem make_cnn(int64_t batch) {
  torch::manual_seed(1);
  const auto convolution = [](int64_t in, int64_t out) {
    return torch::nn::Conv2d(
        torch::nn::Conv2dOptions(in, out, 3).padding(1).bias(false));
  };
  return {
      torch::nn::Sequential(
          convolution(1, 16),
          torch::nn::BatchNorm2d(16),
          torch::nn::ReLU(),
          torch::nn::MaxPool2d(2),
          convolution(16, 32),
          torch::nn::BatchNorm2d(32),
          torch::nn::ReLU(),
          torch::nn::MaxPool2d(2),
          convolution(32, 64),
          torch::nn::BatchNorm2d(64),
          torch::nn::ReLU(),
          torch::nn::AdaptiveAvgPool2d(1),
          torch::nn::Flatten(),
          torch::nn::Linear(64, 10)),
      torch::randn({batch, 1, 28, 28})};
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
  const TensorVector v = problem.vector();
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
  const TensorVector v = problem.vector();
  for (auto _ : state) {
    benchmark::DoNotOptimize(op.apply(v));
  }
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
