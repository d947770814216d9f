#pragma once

#include <stepsize/lr_scheduler/rule_lr.h>
#include <torch/arg.h>

#include <cstdint>

namespace stepsize {

/// Options of ConstantLR.
class ConstantLROptions {
 public:
  /// Factor of the base rate at first; in [0, 1]. Default: Python's.
  TORCH_ARG(double, factor) = 1.0 / 3.0;
  /// Steps until the base rate itself is in force; >= 0. Default: Python's.
  TORCH_ARG(int64_t, total_iters) = 5;

 public:
  /// Throws c10::Error where an option is out of its range.
  LRRule rule() const;
};

/// lr(t) = base_lr * factor for t < total_iters, then base_lr. Python:
/// torch.optim.lr_scheduler.ConstantLR (which fails for factor = 0).
class ConstantLR : public RuleLR {
 public:
  explicit ConstantLR(
      torch::optim::Optimizer& optimizer,
      const ConstantLROptions& options = {});
};

}  // namespace stepsize
