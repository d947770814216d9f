#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace stepsize {

/// A vector in the space of parameters: one tensor a parameter, of its shape.
using TensorVector = std::vector<at::Tensor>;

/// A linear map from parameter space into itself: vector in, vector out. What
/// the algorithms of this room take; they assume that it is symmetric.
///
///     LinearOperator hessian = hessian_operator(closure, parameters);
///     TensorVector product = hessian.apply(v);
///
/// A cheap handle: copies are the same operator and share the counter. Not for
/// use from several threads at once.
class LinearOperator {
 public:
  /// Computes a product. It is given one tensor for each of `like`, of its
  /// shape, dtype and device, and returns as many; an undefined tensor stands
  /// for zeros.
  using Function = std::function<TensorVector(const TensorVector&)>;
  /// The same for several vectors: as many products, in their order.
  using BlockFunction = std::function<std::vector<TensorVector>(
      const std::vector<TensorVector>&)>;

  /// The product with v, without a graph and in memory apart from v. Undefined
  /// tensors in v count as zeros; another dtype or device is converted. It may
  /// share memory with what the function keeps. Throws c10::Error where v
  /// or what comes out is of other shapes, and whatever the function throws.
  /// It does not look for NaN: the algorithms do.
  TensorVector apply(const TensorVector& v) const;

  /// The products with several vectors, in their order: what apply() gives for
  /// each, bit for bit, with its errors. Where shares_work(), what they have in
  /// common is computed once; else this is a loop over apply(). All products
  /// are in memory at the same time, each in its own: apart from the vectors,
  /// from each other and from what the function keeps.
  std::vector<TensorVector> apply_block(
      const std::vector<TensorVector>& vectors) const;

  /// Whether apply_block() may cost less than as many apply(): an exact Hessian
  /// with retain_graph(false), a sum with such a term, a
  /// preconditioned_operator() of one, a function_operator() that was given a
  /// block function. A product may change it: a Hessian that falls back to
  /// differences shares nothing any more.
  bool shares_work() const;

  /// Tensors of the shapes, dtypes and devices of a vector. They may share
  /// memory with the parameters: their values mean nothing here.
  const TensorVector& like() const;

  /// Elements of a vector.
  int64_t dimension() const;

  /// Products so far, through any copy.
  int64_t products() const;

 protected:
  LinearOperator(
      const TensorVector& like,
      Function function,
      BlockFunction block = {},
      std::function<bool()> shares_work = {});

  friend LinearOperator function_operator(
      const TensorVector& like,
      Function function,
      BlockFunction block,
      std::function<bool()> shares_work);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// The inner product of two vectors, terms and sum in float64. Undefined parts
/// are zeros. Throws c10::Error where the vectors differ in length.
double inner_product(const TensorVector& a, const TensorVector& b);

/// An operator from any callable: over ranks, a shift of another operator, a
/// formula. Throws c10::Error where `like` is empty, has a tensor that is
/// undefined, sparse or not of floating point, or the function is empty. A
/// `block` is for products that cost less together, with one transfer for all
/// of them, say; it must give what the function gives for each. `shares_work`
/// says whether they do at the time; where it is empty they always do.
LinearOperator function_operator(
    const TensorVector& like,
    LinearOperator::Function function,
    LinearOperator::BlockFunction block = {},
    std::function<bool()> shares_work = {});

/// A dense matrix over vectors of one tensor [n]. Throws c10::Error unless the
/// matrix is of shape [n, n], n >= 1, and of floating point.
LinearOperator matrix_operator(const at::Tensor& matrix);

/// A dense matrix over vectors shaped as `like`, whose elements stand one
/// after the other.
LinearOperator matrix_operator(
    const at::Tensor& matrix, const TensorVector& like);

/// One term of a sum of operators.
struct WeightedOperator {
  LinearOperator op;
  double weight;
};

/// The sum of weight * op; one product of each operator a product. Throws
/// c10::Error where there is no term, a weight is not finite or the shapes
/// differ.
LinearOperator sum_operator(std::vector<WeightedOperator> terms);

/// The same, divided by the sum of the weights. With one operator a
/// micro-batch, each of a loss that is a mean, and the micro-batches' sizes for
/// weights, this is the operator of the whole batch. Every weight must be > 0.
LinearOperator mean_operator(std::vector<WeightedOperator> terms);

}  // namespace stepsize
