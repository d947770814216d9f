#pragma once

#include <stepsize/curvature/linear_operator.h>

namespace stepsize::detail {

/// Throws c10::Error, naming `function`, unless there is a tensor and all are
/// defined, dense, not empty and of floating point.
void check_vector_space(const char* function, const TensorVector& like);

/// The same, and that all require a gradient and are named once. With `leaves`
/// they must also be leaves.
void check_parameters(
    const char* function, const TensorVector& parameters, bool leaves);

/// Throws c10::Error, naming `function`, unless the loss has one element, a
/// graph and is of floating point.
void check_loss(const char* function, const at::Tensor& loss);

}  // namespace stepsize::detail
