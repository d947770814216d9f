#pragma once

#include <torch/optim/optimizer.h>
#include <torch/serialize/archive.h>

#include <memory>
#include <string>

#include "csrc/checkpoint/item.h"

namespace stepsize::detail {

/// How the state of one optimizer is written and read.
class OptimizerState {
 public:
  virtual ~OptimizerState() = default;
  virtual void save(torch::serialize::OutputArchive& archive) = 0;
  /// Sets `apply` and `undo` of the change; they need not see to the options
  /// unless carries_options(). The groups and shapes of the file fit.
  virtual void prepare(
      torch::serialize::InputArchive& archive,
      Mismatches& mismatches,
      Change& change) = 0;
  virtual bool carries_options() const { return false; }
};

/// Throws c10::Error, naming `owner`, for an optimizer that saves nothing.
std::unique_ptr<OptimizerState> optimizer_state(
    const std::string& owner, torch::optim::Optimizer& optimizer);

}  // namespace stepsize::detail
