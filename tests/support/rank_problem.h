#pragma once

#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <cstdint>
#include <vector>

namespace stepsize::test {

/// A small network in float64 and eight examples, to be shared out over ranks.
class RankProblem {
 public:
  RankProblem() {
    const auto wave = [](const std::vector<int64_t>& shape, double step) {
      int64_t count = 1;
      for (const int64_t side : shape) count *= side;
      return torch::sin(torch::arange(1, count + 1, torch::kFloat64).mul(step))
          .view(shape);
    };
    inputs_ = wave({8, 3}, 1.7);
    targets_ = wave({8, 2}, 0.9);
    parameters_ = {
        wave({4, 3}, 2.3), wave({4}, 0.7), wave({2, 4}, 1.1), wave({2}, 3.1)};
    for (auto& parameter : parameters_) parameter.set_requires_grad(true);
  }

  const std::vector<torch::Tensor>& parameters() const { return parameters_; }

  void clear_gradients() {
    for (auto& parameter : parameters_) parameter.mutable_grad().reset();
  }

  /// The mean loss over some of the examples, with its graph.
  torch::Tensor loss(int64_t first, int64_t count) const {
    const auto hidden = torch::tanh(
        inputs_.narrow(0, first, count).matmul(parameters_[0].t()) +
        parameters_[1]);
    const auto outputs = hidden.matmul(parameters_[2].t()) + parameters_[3];
    return (outputs - targets_.narrow(0, first, count)).square().mean();
  }

  /// The loss with gradients that are made anew.
  torch::Tensor loss_and_gradients(int64_t first, int64_t count) {
    clear_gradients();
    auto own = loss(first, count);
    own.backward();
    return own;
  }

  /// The Hessian of the mean loss over all examples, over point().
  torch::Tensor hessian() const {
    const auto gradients = torch::autograd::grad(
        {loss(0, 8)}, parameters_, {}, true, /*create_graph=*/true);
    std::vector<torch::Tensor> rows;
    for (const auto& gradient : gradients) {
      const auto flat = gradient.reshape(-1);
      for (int64_t i = 0; i < flat.numel(); ++i) {
        std::vector<torch::Tensor> row;
        for (const auto& part : torch::autograd::grad(
                 {flat[i]}, parameters_, {}, true, false, true)) {
          row.push_back(part.reshape(-1));
        }
        rows.push_back(torch::cat(row));
      }
    }
    return torch::stack(rows);
  }

  /// All parameters in a row.
  torch::Tensor point() const {
    std::vector<torch::Tensor> rows;
    for (const auto& parameter : parameters_) {
      rows.push_back(parameter.detach().reshape(-1));
    }
    return torch::cat(rows);
  }

 private:
  torch::Tensor inputs_;
  torch::Tensor targets_;
  std::vector<torch::Tensor> parameters_;
};

}  // namespace stepsize::test
