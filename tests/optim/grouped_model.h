#pragma once

#include <torch/torch.h>

#include <map>
#include <string>
#include <vector>

namespace stepsize::test {

/// A small network with parameters of all kinds, in float64:
///
///     body.weight body.bias norm.weight norm.bias head.weight head.bias
struct GroupedNetImpl : torch::nn::Module {
  GroupedNetImpl()
      : body(register_module("body", torch::nn::Linear(3, 4))),
        norm(register_module(
            "norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({4})))),
        head(register_module("head", torch::nn::Linear(4, 2))) {
    to(torch::kFloat64);
  }

  torch::Tensor forward(const torch::Tensor& inputs) {
    return head(torch::tanh(norm(body(inputs))));
  }

  torch::Tensor loss() {
    const auto inputs =
        torch::sin(torch::arange(15, torch::kFloat64)).view({5, 3});
    return (forward(inputs) - inputs.narrow(1, 0, 2)).square().mean();
  }

  /// Its parameters of these names.
  std::vector<torch::Tensor> of(const std::vector<std::string>& names) const {
    const auto all = named_parameters();
    std::vector<torch::Tensor> found;
    for (const std::string& name : names) found.push_back(all[name]);
    return found;
  }

  torch::nn::Linear body;
  torch::nn::LayerNorm norm;
  torch::nn::Linear head;
};
TORCH_MODULE(GroupedNet);

/// One update. PowerMethodSGD calls backward itself.
template <typename Optimizer>
void update(GroupedNet& net, Optimizer& optimizer, bool calls_backward = true) {
  optimizer.step([&] {
    optimizer.zero_grad();
    const auto loss = net->loss();
    if (calls_backward) loss.backward();
    return loss;
  });
}

inline bool same_parameters(
    const torch::nn::Module& a, const torch::nn::Module& b) {
  const auto of_a = a.parameters();
  const auto of_b = b.parameters();
  for (std::size_t i = 0; i < of_a.size(); ++i) {
    if (!torch::equal(of_a[i], of_b[i])) return false;
  }
  return of_a.size() == of_b.size();
}

}  // namespace stepsize::test
