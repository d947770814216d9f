#pragma once

#include <ATen/core/Tensor.h>
#include <stepsize/curvature/linear_operator.h>

#include <functional>

namespace stepsize {

/// The generalized Gauss-Newton matrix of a loss of outputs,
///
///     G = J' H J,   J the Jacobian of the outputs over the parameters,
///                   H the Hessian of the loss over the outputs,
///
/// at the values that the parameters have when it is made. Where the loss is
/// convex in the outputs, as squares and cross-entropy are, G has no negative
/// eigenvalue, and it equals the Hessian where the outputs are linear in the
/// parameters (Schraudolph 2002, "Fast curvature matrix-vector products").
///
///     auto op = gauss_newton_operator(
///         [&] { return model->forward(inputs); },
///         [&](const at::Tensor& outputs) {
///           return torch::cross_entropy_loss(outputs, targets);
///         },
///         model->parameters());
///
/// `outputs` is called once and gives one tensor with its graph; `loss` is
/// called once and maps outputs to a scalar. A product is three backward passes
/// over kept graphs: J v as the double backward of J' u in u, then H, then J'.
/// An operation without double backward throws.
///
/// The forward pass is yours: keep BatchNorm's statistics and the random state
/// if they matter. Throws c10::Error where hessian_operator would.
LinearOperator gauss_newton_operator(
    const std::function<at::Tensor()>& outputs,
    const std::function<at::Tensor(const at::Tensor&)>& loss,
    const TensorVector& parameters);

}  // namespace stepsize
