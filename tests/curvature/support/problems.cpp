#include "tests/curvature/support/problems.h"

#include <cstddef>

namespace stepsize::test {

at::Tensor flat(const TensorVector& v) {
  std::vector<at::Tensor> parts;
  for (const at::Tensor& part : v) parts.push_back(part.detach().reshape(-1));
  return torch::cat(parts);
}

TensorVector shaped(const at::Tensor& vector, const TensorVector& like) {
  TensorVector v;
  int64_t start = 0;
  for (const at::Tensor& part : like) {
    v.push_back(vector.narrow(0, start, part.numel())
                    .view(part.sizes())
                    .to(part.scalar_type()));
    start += part.numel();
  }
  return v;
}

at::Tensor dense(const LinearOperator& op) {
  const at::Tensor identity = torch::eye(op.dimension(), torch::kDouble);
  std::vector<at::Tensor> columns;
  for (int64_t i = 0; i < op.dimension(); ++i) {
    columns.push_back(flat(op.apply(shaped(identity[i], op.like()))));
  }
  return torch::stack(columns, 1);
}

TensorVector gaussian(const TensorVector& like, uint64_t seed) {
  const at::Generator generator = seeded(seed);
  TensorVector v;
  for (const at::Tensor& part : like) {
    v.push_back(torch::empty_like(part.detach()).normal_(0, 1, generator));
  }
  return v;
}

at::Generator seeded(uint64_t seed) {
  return at::make_generator<at::CPUGeneratorImpl>(seed);
}

LinearOperator diagonal(const std::vector<double>& entries) {
  return matrix_operator(torch::diag(torch::tensor(entries, torch::kDouble)));
}

at::Tensor matrix_with(const std::vector<double>& eigenvalues, uint64_t seed) {
  const auto n = static_cast<int64_t>(eigenvalues.size());
  const at::Tensor random =
      torch::empty({n, n}, torch::kDouble).normal_(0, 1, seeded(seed));
  const at::Tensor q = std::get<0>(torch::linalg_qr(random));
  return q.matmul(torch::diag(torch::tensor(eigenvalues, torch::kDouble)))
      .matmul(q.t());
}

double relative_error(const at::Tensor& value, const at::Tensor& expected) {
  const at::Tensor wide = expected.to(torch::kDouble);
  return (value.to(torch::kDouble) - wide).abs().max().item<double>() /
         wide.abs().max().item<double>();
}

SmallNet::SmallNet(at::ScalarType type) {
  const at::Generator generator = seeded(7);
  const auto random = [&](at::IntArrayRef sizes, double deviation) {
    return torch::empty(sizes, torch::kDouble)
        .normal_(0, deviation, generator)
        .to(type);
  };
  parameters = {
      random({5, 4}, 0.5),
      random({5}, 0.1),
      random({3, 5}, 0.5),
      random({3}, 0.1)};
  for (at::Tensor& parameter : parameters) parameter.requires_grad_();
  inputs = random({12, 4}, 1);
  targets = random({12, 3}, 1);
  classes = torch::arange(12, torch::kLong).remainder(3);
}

at::Tensor SmallNet::outputs(const at::Tensor& x) const {
  const at::Tensor hidden =
      torch::tanh(torch::addmm(parameters[1], x, parameters[0].t()));
  return torch::addmm(parameters[3], hidden, parameters[2].t());
}

at::Tensor SmallNet::cross_entropy() const {
  return torch::cross_entropy_loss(outputs(), classes);
}

at::Tensor SmallNet::squared_error() const {
  return torch::mse_loss(outputs(), targets);
}

Rosenbrock::Rosenbrock()
    : parameters{
          torch::ones({}, torch::kDouble).requires_grad_(),
          torch::ones({1}, torch::kDouble).requires_grad_()} {}

at::Tensor Rosenbrock::loss() const {
  const at::Tensor& x = parameters[0];
  const at::Tensor y = parameters[1][0];
  return (1 - x).pow(2) + 100 * (y - x.pow(2)).pow(2);
}

}  // namespace stepsize::test
