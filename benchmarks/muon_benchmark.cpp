// A step of Muon on the hidden matrices of a transformer of 6 layers and width
// 512, beside a loop of LibTorch's operators that takes one matrix after the
// other, all in float32. Run it as
//
//     build/release/bin/muon_benchmark --benchmark_repetitions=5
//
// The argument is the number of layers.
#include <ATen/ATen.h>
#include <benchmark/benchmark.h>
#include <c10/core/GradMode.h>
#include <stepsize/adaptive/muon.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace {

using Tensors = std::vector<at::Tensor>;

Tensors make_matrices(int64_t layers) {
  Tensors matrices;
  const auto add = [&matrices](int64_t rows, int64_t columns) {
    auto& own = matrices.emplace_back(at::randn({rows, columns}));
    own.set_requires_grad(true);
    own.mutable_grad() = at::randn({rows, columns});
  };
  for (int64_t layer = 0; layer < layers; ++layer) {
    for (int i = 0; i < 4; ++i) add(512, 512);
    add(2048, 512);
    add(512, 2048);
  }
  return matrices;
}

void BM_Muon(benchmark::State& state) {
  stepsize::Muon muon(make_matrices(state.range(0)));
  muon.step();
  for (auto _ : state) muon.step();
}

at::Tensor orthogonalized(const at::Tensor& matrix) {
  const bool tall = matrix.size(0) > matrix.size(1);
  at::Tensor x = tall ? matrix.t() : matrix;
  x = x / (x.norm() + 1e-7);
  for (int step = 0; step < 5; ++step) {
    const at::Tensor gram = x.mm(x.t());
    const at::Tensor factor = -4.7750 * gram + 2.0315 * gram.mm(gram);
    x = 3.4445 * x + factor.mm(x);
  }
  return tall ? x.t() : x;
}

void BM_OneByOne(benchmark::State& state) {
  const Tensors matrices = make_matrices(state.range(0));
  Tensors means;
  for (const auto& own : matrices) means.push_back(at::zeros_like(own));
  const c10::AutoGradMode no_grad(false);
  for (auto _ : state) {
    for (std::size_t i = 0; i < matrices.size(); ++i) {
      const at::Tensor& gradient = matrices[i].grad();
      means[i].lerp_(gradient, 0.05);
      const at::Tensor update = orthogonalized(gradient.lerp(means[i], 0.95));
      const double ratio = static_cast<double>(update.size(0)) /
                           static_cast<double>(update.size(1));
      at::Tensor parameter = matrices[i];
      parameter.add_(update, -0.02 * std::sqrt(std::max(1.0, ratio)));
    }
  }
}

BENCHMARK(BM_Muon)
    ->Arg(1)
    ->Arg(6)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK(BM_OneByOne)
    ->Arg(1)
    ->Arg(6)
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
