#pragma once

#include <torch/optim/optimizer.h>

namespace stepsize::detail {

/// Makes the options of a group equal to `value`: in place where their class is
/// one of this library's or LibTorch's, else by replacing them with a clone.
void assign_options(
    torch::optim::OptimizerParamGroup& group,
    const torch::optim::OptimizerOptions& value);

}  // namespace stepsize::detail
