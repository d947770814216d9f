#pragma once

#include <torch/optim/optimizer.h>

namespace stepsize::detail {

/// Throws c10::Error in the name of `kind`, naming class and reason, for the
/// optimizers that are known to go another way than along the gradient or to
/// measure a rate themselves: LibTorch's Adam, AdamW, RMSprop, Adagrad and
/// LBFGS, ClippedAdamW, PowerMethodSGD, and what derives from them.
void check_descends(const char* kind, const torch::optim::Optimizer& optimizer);

/// What a rule of descent along the gradient does besides; zeros for options of
/// which nothing is known.
struct DescentTraits {
  double momentum = 0;
  /// Of the gradient that enters the buffer; 0 where there is no momentum.
  double dampening = 0;
  bool nesterov = false;
  /// The weight decay that is added to the gradient.
  double coupled_decay = 0;
};

/// Knows the options of torch::optim::SGD, ClippedSGD and RollbackSGD.
DescentTraits descent_traits(const torch::optim::OptimizerOptions& options);

}  // namespace stepsize::detail
