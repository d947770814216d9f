#include <ATen/ops/cat.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <stepsize/curvature/linear_operator.h>

#include <cmath>
#include <cstddef>
#include <set>
#include <utility>

#include "csrc/core/check.h"
#include "csrc/curvature/checks.h"
#include "csrc/curvature/vector_math.h"

namespace stepsize {

struct LinearOperator::State {
  TensorVector like;
  Function function;
  int64_t dimension = 0;
  int64_t products = 0;
};

LinearOperator::LinearOperator(const TensorVector& like, Function function)
    : state_(std::make_shared<State>()) {
  for (const at::Tensor& part : like) {
    state_->like.push_back(part.detach());
    state_->dimension += part.numel();
  }
  state_->function = std::move(function);
}

TensorVector LinearOperator::apply(const TensorVector& v) const {
  TensorVector product = state_->function(
      detail::matched("LinearOperator", "the vector", v, state_->like));
  product =
      detail::matched("LinearOperator", "the product", product, state_->like);
  ++state_->products;
  std::set<const void*> memory;
  for (const at::Tensor& part : v) {
    if (part.defined() && part.has_storage()) {
      memory.insert(part.storage().unsafeGetStorageImpl());
    }
  }
  for (at::Tensor& part : product) {
    if (part.has_storage() &&
        memory.count(part.storage().unsafeGetStorageImpl()) != 0) {
      part = part.clone();
    }
  }
  return product;
}

const TensorVector& LinearOperator::like() const { return state_->like; }

int64_t LinearOperator::dimension() const { return state_->dimension; }

int64_t LinearOperator::products() const { return state_->products; }

LinearOperator function_operator(
    const TensorVector& like, LinearOperator::Function function) {
  detail::check_vector_space("function_operator", like);
  TORCH_CHECK(function != nullptr, "function_operator: the function is empty");
  return LinearOperator(like, std::move(function));
}

LinearOperator matrix_operator(const at::Tensor& matrix) {
  TORCH_CHECK(matrix.defined(), "matrix_operator: the matrix is undefined");
  TORCH_CHECK(
      matrix.dim() == 2,
      "matrix_operator: the matrix must have 2 dimensions, got ",
      matrix.dim());
  return matrix_operator(
      matrix, {at::zeros({matrix.size(0)}, matrix.options())});
}

LinearOperator matrix_operator(
    const at::Tensor& matrix, const TensorVector& like) {
  detail::check_vector_space("matrix_operator", like);
  TORCH_CHECK(
      matrix.defined() && at::isFloatingType(matrix.scalar_type()),
      "matrix_operator: the matrix must be of floating point");
  int64_t dimension = 0;
  for (const at::Tensor& part : like) dimension += part.numel();
  TORCH_CHECK(
      matrix.dim() == 2 && matrix.size(0) == dimension &&
          matrix.size(1) == dimension,
      "matrix_operator: the matrix must be ",
      dimension,
      " x ",
      dimension,
      ", got ",
      matrix.sizes());
  const at::Tensor a = matrix.detach();
  return function_operator(like, [a](const TensorVector& v) {
    std::vector<at::Tensor> flat;
    flat.reserve(v.size());
    for (const at::Tensor& part : v) {
      flat.push_back(part.reshape(-1).to(a.device(), a.scalar_type()));
    }
    const at::Tensor product = at::mv(a, at::cat(flat));
    TensorVector result;
    result.reserve(v.size());
    int64_t start = 0;
    for (const at::Tensor& part : v) {
      result.push_back(
          product.narrow(0, start, part.numel()).view(part.sizes()));
      start += part.numel();
    }
    return result;
  });
}

namespace {

LinearOperator weighted_sum(
    const char* function, std::vector<WeightedOperator> terms) {
  const TensorVector like = terms.front().op.like();
  for (const WeightedOperator& term : terms) {
    detail::matched(function, "a term's vector", term.op.like(), like);
  }
  return function_operator(
      like, [terms = std::move(terms)](const TensorVector& v) {
        TensorVector sum = terms.front().op.apply(v);
        // A product may share memory with v or with what its maker keeps.
        for (at::Tensor& part : sum) {
          part = part.mul(terms.front().weight);
        }
        for (std::size_t t = 1; t < terms.size(); ++t) {
          const TensorVector product = terms[t].op.apply(v);
          for (std::size_t i = 0; i < sum.size(); ++i) {
            sum[i].add_(
                product[i].to(sum[i].device(), sum[i].scalar_type()),
                terms[t].weight);
          }
        }
        return sum;
      });
}

}  // namespace

LinearOperator sum_operator(std::vector<WeightedOperator> terms) {
  TORCH_CHECK(!terms.empty(), "sum_operator: there must be a term");
  for (const WeightedOperator& term : terms) {
    TORCH_CHECK(
        std::isfinite(term.weight),
        "sum_operator: weights must be finite, got ",
        detail::number_text(term.weight));
  }
  return weighted_sum("sum_operator", std::move(terms));
}

LinearOperator mean_operator(std::vector<WeightedOperator> terms) {
  TORCH_CHECK(!terms.empty(), "mean_operator: there must be a term");
  double total = 0;
  for (const WeightedOperator& term : terms) {
    TORCH_CHECK(
        std::isfinite(term.weight) && term.weight > 0,
        "mean_operator: weights must be finite and > 0, got ",
        detail::number_text(term.weight));
    total += term.weight;
  }
  for (WeightedOperator& term : terms) term.weight /= total;
  return weighted_sum("mean_operator", std::move(terms));
}

}  // namespace stepsize
