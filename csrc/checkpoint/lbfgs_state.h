#pragma once

#include <memory>
#include <string>

#include "csrc/checkpoint/optimizer_state.h"

namespace stepsize::detail {

/// For LibTorch's LBFGS; null for another class. Throws c10::Error, naming
/// `owner`, for a class derived from it, which may keep more.
std::unique_ptr<OptimizerState> lbfgs_state(
    const std::string& owner, torch::optim::Optimizer& optimizer);

}  // namespace stepsize::detail
