#pragma once

#include <stepsize/curvature/linear_operator.h>
#include <torch/optim/optimizer.h>

#include <cstdint>

namespace stepsize {

/// What coming_operator() returns.
struct ComingOperator {
  LinearOperator op;
  /// The number of the parameters' coming update, the smallest where they
  /// differ; 0 where the rule does not count.
  int64_t step = 0;
};

/// Whether coming_operator() knows the optimizer's rule. Not where a group
/// maximizes.
bool has_coming_operator(const torch::optim::Optimizer& optimizer);

/// What the coming update of an optimizer makes of the loss's Hessian H, a
/// symmetric operator whose largest eigenvalue its rate multiplies: s H + decay
/// where it goes down the gradient, P^-1/2 (H + decay) P^-1/2 where it divides
/// that by P, with the P of coming_preconditioner(), the weight decay that is
/// coupled, and s, what clips the gradient.
///
/// `hessian` and `gradients`, those of the loss, are over the parameters that
/// require a gradient, by groups; the latter are needed where there is a P
/// (HessianOperator::used_gradient()), and without them s is 1. Where P has
/// zeros or is not finite the update comes to no number, and the products are
/// NaN. Throws c10::Error where has_coming_operator() is false, where gradients
/// are missing and where parameters differ in number or shape.
ComingOperator coming_operator(
    const LinearOperator& hessian,
    torch::optim::Optimizer& optimizer,
    const TensorVector& gradients = {});

}  // namespace stepsize
