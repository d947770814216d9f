#pragma once

#include <stepsize/curvature/linear_operator.h>

#include <functional>

namespace stepsize::detail {

/// The operator v -> after(op u, u) with u = before(v), over vectors as `like`
/// is. Several vectors are one block of `op`, and work is shared where `op`
/// shares it. Where `before` is empty, u is v.
LinearOperator mapped(
    const LinearOperator& op,
    const TensorVector& like,
    std::function<TensorVector(const TensorVector&)> before,
    std::function<TensorVector(TensorVector product, const TensorVector& u)>
        after);

}  // namespace stepsize::detail
