#pragma once

#include <stepsize/distributed/reduction.h>
#include <stepsize/tune/lr_range_test.h>
#include <torch/optim/optimizer.h>

#include <optional>
#include <vector>

namespace stepsize::detail {

struct StabilityLimit {
  double reported;   ///< as options.momentum_limit() has it
  double quadratic;  ///< beyond which a quadratic diverges
};

/// max_stable_lr() at the present point, for the first group's rate, where the
/// others are `ratios` times as large: of sqrt(r) (H + c) sqrt(r), whose
/// eigenvalues are those of r (H + c), with the coupled weight decay c of each
/// parameter and r its ratio times 1 - dampening. Nothing for rules other than
/// gradient descent, for groups of different momentum, where the largest
/// eigenvalue is not > 0, and where it is not finite. With a reduction, of the
/// mean loss over ranks. Leaves gradients behind where the closure calls
/// backward().
std::optional<StabilityLimit> measured_max_stable_lr(
    const torch::optim::Optimizer& optimizer,
    const GraphClosure& closure,
    const LRRangeTestOptions& options,
    const std::vector<double>& ratios,
    const TensorVector& buffers,
    Reduction* reduction);

}  // namespace stepsize::detail
