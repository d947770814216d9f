#pragma once

#include <memory>
#include <string>

#include "csrc/optim/state_access.h"

namespace stepsize::detail {

/// The state of any optimizer, through its own save() and load(). Throws
/// c10::Error for LBFGS, and where save() writes nothing.
std::unique_ptr<StateAccess> whole_state_access(
    const std::string& kind, torch::optim::Optimizer& optimizer);

}  // namespace stepsize::detail
