#pragma once

#include <stepsize/curvature/hessian_operator.h>
#include <stepsize/curvature/linear_operator.h>
#include <torch/torch.h>

#include <cstdint>
#include <vector>

namespace stepsize::test {

/// All elements one after the other.
at::Tensor flat(const TensorVector& v);

/// A flat vector in the shapes of `like`.
TensorVector shaped(const at::Tensor& vector, const TensorVector& like);

/// The operator as a matrix: one product a column.
at::Tensor dense(const LinearOperator& op);

/// A Gaussian vector, seeded.
TensorVector gaussian(const TensorVector& like, uint64_t seed);

/// A generator of its own for a test.
at::Generator seeded(uint64_t seed);

/// A diagonal matrix as an operator.
LinearOperator diagonal(const std::vector<double>& entries);

/// A symmetric matrix with these eigenvalues and random eigenvectors.
at::Tensor matrix_with(const std::vector<double>& eigenvalues, uint64_t seed);

/// The largest difference of two tensors, relative to the largest element of
/// the second.
double relative_error(const at::Tensor& value, const at::Tensor& expected);

/// 4-5-3 with tanh, on random data of 12 points.
struct SmallNet {
  explicit SmallNet(at::ScalarType type = at::kDouble);

  at::Tensor outputs(const at::Tensor& x) const;
  at::Tensor outputs() const { return outputs(inputs); }
  /// Mean cross-entropy, and mean squared error against random targets.
  at::Tensor cross_entropy() const;
  at::Tensor squared_error() const;

  TensorVector parameters;
  at::Tensor inputs;
  at::Tensor classes;
  at::Tensor targets;
};

/// Rosenbrock's function of two parameters, at its minimum (1, 1). Its Hessian
/// there is [[802, -400], [-400, 200]].
struct Rosenbrock {
  Rosenbrock();
  at::Tensor loss() const;

  TensorVector parameters;
};

}  // namespace stepsize::test
