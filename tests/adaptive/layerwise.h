#pragma once

#include <stepsize/optim/indexed_optimizer.h>
#include <torch/torch.h>

#include <cstdint>
#include <random>
#include <vector>

#include "csrc/kernels/dispatch.h"

namespace stepsize::test {

/// Elements in (-1, 1), the same with every library.
class LayerDraws {
 public:
  torch::Tensor operator()(
      torch::IntArrayRef shape, torch::Dtype type = torch::kFloat64) {
    auto values = torch::empty(shape, torch::kFloat64);
    double* const data = values.data_ptr<double>();
    for (int64_t i = 0; i < values.numel(); ++i) {
      data[i] = (static_cast<double>(engine_()) + 0.5) / 2147483648.0 - 1;
    }
    return values.to(type);
  }

 private:
  std::mt19937 engine_{17};
};

/// Layers of a block and less, of several blocks, and one that lies in memory
/// otherwise.
inline std::vector<torch::Tensor> some_layers(
    LayerDraws& draw, torch::Dtype type) {
  std::vector<torch::Tensor> layers = {
      draw({7, 5}, type), draw({210, 401}, type), draw({3, 4, 3, 3}, type)};
  layers.push_back(draw({41, 13}, type).t());
  layers.push_back(draw({9}, type));
  for (auto& layer : layers) layer.set_requires_grad(true);
  return layers;
}

inline void set_gradients(
    const std::vector<torch::Tensor>& layers, LayerDraws& draw) {
  for (const auto& layer : layers) {
    torch::Tensor parameter = layer;
    parameter.mutable_grad() =
        draw(parameter.sizes()).to(parameter.scalar_type());
  }
}

inline double norm_of(const torch::Tensor& tensor) {
  return tensor.detach().to(torch::kFloat64).norm().item<double>();
}

inline std::vector<torch::Tensor> copies_of(
    const std::vector<torch::Tensor>& layers) {
  std::vector<torch::Tensor> copies;
  for (const auto& layer : layers) copies.push_back(layer.detach().clone());
  return copies;
}

/// Expects that `run(type)`, which returns tensors, gives the same bits with
/// every instruction set and any number of threads.
template <typename Run>
void expect_the_same_everywhere(const Run& run) {
  const CPUCapability used = cpu_capability();
  const int threads = at::get_num_threads();
  for (const auto type :
       {torch::kFloat32, torch::kFloat64, torch::kBFloat16, torch::kHalf}) {
    detail::use_capability(CPUCapability::kBase);
    at::set_num_threads(1);
    const std::vector<torch::Tensor> expected = run(type);
    at::set_num_threads(3);
    for (const auto capability :
         {CPUCapability::kBase, CPUCapability::kAVX2, CPUCapability::kAVX512}) {
      if (capability > detail::supported_capability()) continue;
      detail::use_capability(capability);
      const std::vector<torch::Tensor> got = run(type);
      for (std::size_t i = 0; i < expected.size(); ++i) {
        EXPECT_TRUE(torch::equal(got[i], expected[i])) << type << ", " << i;
      }
    }
  }
  at::set_num_threads(threads);
  detail::use_capability(used);
}

}  // namespace stepsize::test
