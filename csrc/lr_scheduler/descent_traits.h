#pragma once

#include <torch/optim/optimizer.h>

namespace stepsize::detail {

/// What a rule of descent along the gradient does besides; zeros for options of
/// which nothing is known.
struct DescentTraits {
  double momentum = 0;
  bool nesterov = false;
  /// The weight decay that is added to the gradient.
  double coupled_decay = 0;
};

/// Knows the options of torch::optim::SGD, ClippedSGD and RollbackSGD.
DescentTraits descent_traits(const torch::optim::OptimizerOptions& options);

}  // namespace stepsize::detail
