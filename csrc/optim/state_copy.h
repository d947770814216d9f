#pragma once

#include <torch/optim/optimizer.h>

#include <memory>
#include <string>

namespace stepsize::detail {

/// A copy of the state of an optimizer, however it is kept.
class StateCopy {
 public:
  virtual ~StateCopy() = default;
  /// Throws c10::Error where the state is none that can be put back.
  virtual void take() = 0;
  virtual void put_back() = 0;
};

/// For every class that OptimizerSnapshot knows. Throws c10::Error, naming
/// `kind`, for others.
std::unique_ptr<StateCopy> state_copy(
    const std::string& kind, torch::optim::Optimizer& optimizer);

}  // namespace stepsize::detail
