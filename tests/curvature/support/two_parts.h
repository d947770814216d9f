#pragma once

#include <stepsize/curvature/hessian_operator.h>
#include <torch/torch.h>

#include <vector>

namespace stepsize::test {

/// w'Aw / 2 over w = (x, y), whose Hessian is A everywhere.
struct TwoParts {
  explicit TwoParts(const at::Tensor& matrix)
      : a(matrix),
        x(torch::ones({2}, torch::kDouble).requires_grad_()),
        y(torch::ones({matrix.size(0) - 2}, torch::kDouble).requires_grad_()) {}

  at::Tensor loss() const {
    const at::Tensor w = torch::cat({x, y});
    return w.dot(a.mv(w)) / 2;
  }
  GraphClosure closure() const {
    return [this] { return loss(); };
  }
  std::vector<torch::optim::OptimizerParamGroup> groups() const {
    return {
        torch::optim::OptimizerParamGroup(std::vector<at::Tensor>{x}),
        torch::optim::OptimizerParamGroup(std::vector<at::Tensor>{y})};
  }

  at::Tensor a;
  at::Tensor x;
  at::Tensor y;
};

inline at::Tensor diagonal_matrix(const std::vector<double>& entries) {
  return torch::diag(torch::tensor(entries, torch::kDouble));
}

/// The largest |eigenvalue| of D A D, by LibTorch's dense solver.
inline double dense_sharpness(
    const at::Tensor& a, const std::vector<double>& d) {
  const at::Tensor scale = diagonal_matrix(d);
  return at::linalg_eigvalsh(scale.mm(a).mm(scale)).abs().max().item<double>();
}

}  // namespace stepsize::test
