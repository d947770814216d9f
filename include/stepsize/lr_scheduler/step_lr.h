#pragma once

#include <stepsize/lr_scheduler/rule_lr.h>
#include <torch/arg.h>

#include <cstdint>

namespace stepsize {

/// Options of StepLR.
class StepLROptions {
 public:
  StepLROptions(int64_t step_size)  // NOLINT: implicit, as in LibTorch
      : step_size_(step_size) {}

  /// Steps from one decay to the next; > 0.
  TORCH_ARG(int64_t, step_size);
  /// Factor of each decay; finite and >= 0. Default: Python's.
  TORCH_ARG(double, gamma) = 0.1;

 public:
  /// Throws c10::Error where an option is out of its range.
  LRRule rule() const;
};

/// lr(t) = base_lr * gamma^floor(t / step_size). Python:
/// torch.optim.lr_scheduler.StepLR.
///
/// It decays at t = step_size, as Python does. LibTorch's own
/// torch::optim::StepLR comes one step late.
class StepLR : public RuleLR {
 public:
  StepLR(torch::optim::Optimizer& optimizer, const StepLROptions& options);
};

}  // namespace stepsize
