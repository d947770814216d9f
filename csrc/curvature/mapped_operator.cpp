#include "csrc/curvature/mapped_operator.h"

#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace stepsize::detail {
namespace {

struct Map {
  LinearOperator op;
  std::function<TensorVector(const TensorVector&)> before;
  std::function<TensorVector(TensorVector, const TensorVector&)> after;

  TensorVector given(const TensorVector& v) const {
    return before ? before(v) : v;
  }

  TensorVector product(const TensorVector& v) const {
    const TensorVector u = given(v);
    return after(op.apply(u), u);
  }

  std::vector<TensorVector> products(
      const std::vector<TensorVector>& vectors) const {
    std::vector<TensorVector> us;
    us.reserve(vectors.size());
    for (const TensorVector& v : vectors) us.push_back(given(v));
    std::vector<TensorVector> results = op.apply_block(us);
    for (std::size_t k = 0; k < results.size(); ++k) {
      results[k] = after(std::move(results[k]), us[k]);
    }
    return results;
  }
};

}  // namespace

LinearOperator mapped(
    const LinearOperator& op,
    const TensorVector& like,
    std::function<TensorVector(const TensorVector&)> before,
    std::function<TensorVector(TensorVector product, const TensorVector& u)>
        after) {
  const auto map =
      std::make_shared<const Map>(Map{op, std::move(before), std::move(after)});
  return function_operator(
      like,
      [map](const TensorVector& v) { return map->product(v); },
      [map](const std::vector<TensorVector>& vectors) {
        return map->products(vectors);
      },
      [op] { return op.shares_work(); });
}

}  // namespace stepsize::detail
