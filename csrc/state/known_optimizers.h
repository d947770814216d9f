#pragma once

#include <stepsize/state/optimizer_traits.h>

#include <vector>

namespace stepsize::detail {

/// One row each for SGD, Adam, AdamW, RMSprop, Adagrad and LBFGS.
std::vector<OptimizerTraits> libtorch_traits();

}  // namespace stepsize::detail
