#pragma once

#include <gtest/gtest.h>
#include <stepsize/optim/indexed_optimizer.h>
#include <torch/torch.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

#include "csrc/kernels/dispatch.h"
#include "tests/support/numbers.h"

namespace stepsize::test {

/// In (-1, 1), the same with every library.
class FusedDraws {
 public:
  explicit FusedDraws(unsigned seed = 11) : engine_(seed) {}

  std::vector<double> operator()(std::size_t count) {
    std::vector<double> values(count);
    for (double& value : values) {
      value = (static_cast<double>(engine_()) + 0.5) / 2147483648.0 - 1;
    }
    return values;
  }
  torch::Tensor operator()(int64_t count, torch::Dtype type) {
    return torch::tensor(
               (*this)(static_cast<std::size_t>(count)), torch::kFloat64)
        .to(type);
  }

 private:
  std::mt19937 engine_;
};

inline std::vector<double> fused_numbers(const torch::Tensor& tensor) {
  const auto wide =
      tensor.detach().to(torch::kFloat64).contiguous().reshape({-1});
  const double* const data = wide.data_ptr<double>();
  return {data, data + wide.numel()};
}

/// Not by std::max, which would pass a NaN over.
inline double fused_difference(
    const std::vector<double>& a, const std::vector<double>& b) {
  double largest = a.size() == b.size() ? 0 : kInfinity;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
    const double difference = std::abs(a[i] - b[i]);
    if (!(difference <= largest)) largest = difference;
  }
  return largest;
}

inline std::vector<torch::Tensor> fused_states(
    IndexedOptimizer& optimizer, std::size_t group, std::size_t index) {
  ParameterState state;
  optimizer.state_access()->read(group, index, state);
  return state.tensors;
}

/// Parameters and states after a few steps on three parameters, one of which is
/// of several blocks and one transposed.
template <typename Optimizer, typename Options>
std::vector<torch::Tensor> fused_run(
    const Options& options, torch::Dtype type) {
  FusedDraws draw;
  std::vector<torch::Tensor> parameters = {
      draw(1037, type), draw(80003, type), draw(35, type).view({5, 7}).t()};
  for (auto& parameter : parameters) parameter.set_requires_grad(true);
  Optimizer optimizer(parameters, options);
  for (int step = 0; step < 4; ++step) {
    for (auto& parameter : parameters) {
      parameter.mutable_grad() =
          draw(parameter.numel(), type).view(parameter.sizes());
    }
    optimizer.step();
  }
  std::vector<torch::Tensor> all;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    all.push_back(parameters[i].detach());
    for (const auto& state : fused_states(optimizer, 0, i)) {
      if (state.defined()) all.push_back(state);
    }
  }
  return all;
}

inline void expect_fused_bits(
    const std::vector<torch::Tensor>& a,
    const std::vector<torch::Tensor>& b,
    torch::Dtype type) {
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_TRUE(torch::equal(a[i], b[i])) << type << ", tensor " << i;
  }
}

/// Expects the same bits with every instruction set, and however many threads
/// there are.
template <typename Optimizer, typename Options>
void expect_fused_alike(const Options& options) {
  const CPUCapability used = cpu_capability();
  const int threads = torch::get_num_threads();
  for (const auto type :
       {torch::kFloat32, torch::kFloat64, torch::kBFloat16, torch::kHalf}) {
    detail::use_capability(CPUCapability::kBase);
    torch::set_num_threads(1);
    const auto expected = fused_run<Optimizer>(options, type);
    torch::set_num_threads(3);
    expect_fused_bits(fused_run<Optimizer>(options, type), expected, type);
    for (const auto capability :
         {CPUCapability::kAVX2, CPUCapability::kAVX512}) {
      if (capability > detail::supported_capability()) continue;
      detail::use_capability(capability);
      expect_fused_bits(fused_run<Optimizer>(options, type), expected, type);
    }
  }
  torch::set_num_threads(threads);
  detail::use_capability(used);
}

}  // namespace stepsize::test
