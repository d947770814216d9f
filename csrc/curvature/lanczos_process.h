#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <stepsize/curvature/linear_operator.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace stepsize::detail {

/// Vectors as few flat tensors, one for each device and dtype, so that a basis
/// is a matrix. Half precision becomes float32.
class FlatSpace {
 public:
  explicit FlatSpace(const TensorVector& like);

  TensorVector flatten(const TensorVector& v) const;
  /// The parts share memory with `flat` where the dtype is the same.
  TensorVector unflatten(const TensorVector& flat) const;

 private:
  struct Place {
    std::size_t group;
    int64_t start;
  };
  TensorVector like_;
  std::vector<Place> places_;
  std::size_t group_count_ = 0;
};

/// Orthonormal flat vectors, kept in blocks of rows.
class Basis {
 public:
  void append(const TensorVector& flat);
  void clear() { size_ = 0; }
  int64_t size() const { return size_; }

  /// The i-th vector; shares memory with the basis.
  TensorVector vector(int64_t i) const;
  /// Takes from `flat` its part in the span, twice over: once leaves
  /// rounding errors of the size of that part.
  TensorVector orthogonal_part(const TensorVector& flat) const;
  /// sum_i coefficients[i] vector(i), the coefficients a float64 tensor on
  /// the CPU, one for each of the first vectors.
  TensorVector combine(const at::Tensor& coefficients) const;

 private:
  int64_t rows_of(std::size_t block) const;

  std::vector<TensorVector> blocks_;
  int64_t size_ = 0;
};

/// The Lanczos recursion with full reorthogonalisation: a tridiagonal matrix
/// T = Q'AQ, its diagonal `alphas` and its off-diagonal `betas`.
class LanczosProcess {
 public:
  enum class Step {
    kGoOn,
    kInvariant,  ///< the rest is no more than rounding: the space is closed
    kNotFinite,
  };

  LanczosProcess(const LinearOperator& op, const TensorVector& start);

  /// One product, one number more in alphas() and betas().
  Step step();
  /// After kInvariant: goes on from a random vector orthogonal to all so far.
  /// False if there is none: the basis spans the whole space.
  bool go_on(const at::Generator& generator);

  const std::vector<double>& alphas() const { return alphas_; }
  const std::vector<double>& betas() const { return betas_; }
  int64_t steps() const { return static_cast<int64_t>(alphas_.size()); }
  /// A bound of |Ax - value x| for the Ritz pair whose x has these coordinates
  /// in the basis, all of it: what the last step and go_on() leave out.
  double residual(const at::Tensor& coefficients) const;
  /// The vector with these coordinates in the basis.
  TensorVector vector(const at::Tensor& coefficients) const;

 private:
  // Where go_on() has left a rest out.
  struct Cut {
    std::size_t row;
    double beta;
  };

  LinearOperator op_;
  FlatSpace space_;
  Basis basis_;
  TensorVector current_;
  std::vector<double> alphas_;
  std::vector<double> betas_;
  std::vector<Cut> cuts_;
  double scale_ = 0;
  double epsilon_ = 0;
};

/// Eigenvalues, ascending, and eigenvectors of a symmetric tridiagonal matrix.
/// betas[i] stands beside alphas[i] and alphas[i + 1]; a last one is left out.
struct TridiagonalEigen {
  TridiagonalEigen(
      const std::vector<double>& alphas, const std::vector<double>& betas);

  std::vector<double> values;
  at::Tensor vectors;  ///< columns; float64 on the CPU
};

}  // namespace stepsize::detail
