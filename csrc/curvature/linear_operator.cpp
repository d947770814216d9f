#include <ATen/ops/cat.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>
#include <stepsize/curvature/linear_operator.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "csrc/core/check.h"
#include "csrc/curvature/checks.h"
#include "csrc/curvature/vector_math.h"

namespace stepsize {

namespace {

const void* memory_of(const at::Tensor& part) {
  return part.defined() && part.has_storage()
             ? part.storage().unsafeGetStorageImpl()
             : nullptr;
}

// Copies those tensors of a product that share memory with a vector.
void leave_memory_of(const TensorVector& v, TensorVector& product) {
  std::set<const void*> memory;
  for (const at::Tensor& part : v) memory.insert(memory_of(part));
  memory.erase(nullptr);
  for (at::Tensor& part : product) {
    if (memory.count(memory_of(part)) != 0) part = part.clone();
  }
}

// Copies those tensors of a product whose memory anyone else holds: a vector,
// another product, or a function that writes each product to the same place.
void leave_memory_of_others(TensorVector& product) {
  for (at::Tensor& part : product) {
    const void* const memory = memory_of(part);
    if (memory == nullptr) continue;
    const auto own = std::count_if(
        product.begin(), product.end(), [memory](const at::Tensor& other) {
          return memory_of(other) == memory;
        });
    if (static_cast<int64_t>(part.storage().use_count()) > own) {
      part = part.clone();
    }
  }
}

}  // namespace

struct LinearOperator::State {
  TensorVector like;
  Function function;
  BlockFunction block;
  std::function<bool()> shares_work;
  int64_t dimension = 0;
  int64_t products = 0;
};

LinearOperator::LinearOperator(
    const TensorVector& like,
    Function function,
    BlockFunction block,
    std::function<bool()> shares_work)
    : state_(std::make_shared<State>()) {
  for (const at::Tensor& part : like) {
    state_->like.push_back(part.detach());
    state_->dimension += part.numel();
  }
  state_->function = std::move(function);
  state_->block = std::move(block);
  state_->shares_work = std::move(shares_work);
}

TensorVector LinearOperator::apply(const TensorVector& v) const {
  const TensorVector product = state_->function(
      detail::matched("LinearOperator", "the vector", v, state_->like));
  TensorVector result =
      detail::matched("LinearOperator", "the product", product, state_->like);
  ++state_->products;
  leave_memory_of(v, result);
  return result;
}

std::vector<TensorVector> LinearOperator::apply_block(
    const std::vector<TensorVector>& vectors) const {
  std::vector<TensorVector> results;
  results.reserve(vectors.size());
  if (!shares_work()) {
    for (const TensorVector& v : vectors) {
      results.push_back(apply(v));
      // Before the next product, which may overwrite this one.
      leave_memory_of_others(results.back());
    }
    return results;
  }
  if (vectors.empty()) return results;
  std::vector<TensorVector> given;
  given.reserve(vectors.size());
  for (const TensorVector& v : vectors) {
    given.push_back(
        detail::matched("LinearOperator", "the vector", v, state_->like));
  }
  std::vector<TensorVector> products = state_->block(given);
  TORCH_CHECK(
      products.size() == vectors.size(),
      "LinearOperator: the block function must return a product for each "
      "vector, got ",
      products.size(),
      " for ",
      vectors.size());
  for (const TensorVector& product : products) {
    results.push_back(detail::matched(
        "LinearOperator", "the product", product, state_->like));
  }
  given.clear();
  products.clear();
  for (TensorVector& result : results) leave_memory_of_others(result);
  state_->products += static_cast<int64_t>(vectors.size());
  return results;
}

bool LinearOperator::shares_work() const {
  return state_->block != nullptr &&
         (!state_->shares_work || state_->shares_work());
}

const TensorVector& LinearOperator::like() const { return state_->like; }

int64_t LinearOperator::dimension() const { return state_->dimension; }

int64_t LinearOperator::products() const { return state_->products; }

double inner_product(const TensorVector& a, const TensorVector& b) {
  TORCH_CHECK(
      a.size() == b.size(),
      "inner_product: the vectors must have as many tensors, got ",
      a.size(),
      " and ",
      b.size());
  const c10::AutoGradMode no_grad(false);
  TensorVector left;
  TensorVector right;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (!a[i].defined() || !b[i].defined()) continue;
    left.push_back(detail::plain(a[i].detach()));
    right.push_back(detail::plain(b[i].detach()));
  }
  return left.empty() ? 0.0 : detail::to_host({detail::dot(left, right)})[0];
}

LinearOperator function_operator(
    const TensorVector& like,
    LinearOperator::Function function,
    LinearOperator::BlockFunction block,
    std::function<bool()> shares_work) {
  detail::check_vector_space("function_operator", like);
  TORCH_CHECK(function != nullptr, "function_operator: the function is empty");
  return LinearOperator(
      like, std::move(function), std::move(block), std::move(shares_work));
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

// The sum of the terms' products with each vector.
std::vector<TensorVector> summed(
    const std::vector<WeightedOperator>& terms,
    const std::vector<TensorVector>& vectors) {
  std::vector<TensorVector> sums = terms.front().op.apply_block(vectors);
  // A product may share memory with v or with what its maker keeps.
  for (TensorVector& sum : sums) {
    for (at::Tensor& part : sum) part = part.mul(terms.front().weight);
  }
  for (std::size_t t = 1; t < terms.size(); ++t) {
    const std::vector<TensorVector> products = terms[t].op.apply_block(vectors);
    for (std::size_t k = 0; k < sums.size(); ++k) {
      for (std::size_t i = 0; i < sums[k].size(); ++i) {
        at::Tensor& part = sums[k][i];
        part.add_(
            products[k][i].to(part.device(), part.scalar_type()),
            terms[t].weight);
      }
    }
  }
  return sums;
}

LinearOperator weighted_sum(
    const char* function, std::vector<WeightedOperator> terms) {
  const TensorVector like = terms.front().op.like();
  for (const WeightedOperator& term : terms) {
    detail::matched(function, "a term's vector", term.op.like(), like);
  }
  const auto shared =
      std::make_shared<const std::vector<WeightedOperator>>(std::move(terms));
  return function_operator(
      like,
      [shared](const TensorVector& v) {
        return std::move(summed(*shared, {v}).front());
      },
      [shared](const std::vector<TensorVector>& vectors) {
        return summed(*shared, vectors);
      },
      [shared] {
        return std::any_of(
            shared->begin(), shared->end(), [](const WeightedOperator& term) {
              return term.op.shares_work();
            });
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
