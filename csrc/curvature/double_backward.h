#pragma once

#include <stepsize/curvature/linear_operator.h>

namespace stepsize::detail {

/// The derivative of sum_i (gradients[i] . v[i]) by the parameters: with the
/// gradients of a loss a product of its Hessian and v. Keeps the graph. A
/// gradient that is undefined or has no graph is constant. Undefined results
/// stand for zeros.
TensorVector double_backward(
    const TensorVector& gradients,
    const TensorVector& parameters,
    const TensorVector& v);

}  // namespace stepsize::detail
