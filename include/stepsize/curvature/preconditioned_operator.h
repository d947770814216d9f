#pragma once

#include <stepsize/curvature/linear_operator.h>

#include <vector>

namespace stepsize {

/// P^-1/2 (A + shift) P^-1/2 for a symmetric operator A and a diagonal P > 0:
/// symmetric, with the eigenvalues of P^-1 (A + shift), which govern descent by
/// p = p - lr P^-1 g as those of the Hessian govern plain descent. With the
/// loss's Hessian and the P of coming_preconditioner() the largest is the
/// preconditioned sharpness of Cohen et al. 2022 (arXiv:2207.14484).
///
/// `diagonal` has one tensor of the same shape for each of op.like(); where it
/// is undefined the coordinates take no part, and products are zero there.
/// `shift` has a number for each, or none at all. One product of A a product,
/// in float32 where A is of half precision. Throws c10::Error where sizes
/// differ, where an element is not finite or not > 0 or a shift not finite.
LinearOperator preconditioned_operator(
    const LinearOperator& op,
    const TensorVector& diagonal,
    const std::vector<double>& shift = {});

}  // namespace stepsize
