#pragma once

#include <stepsize/lr_scheduler/rule_lr.h>
#include <torch/arg.h>

#include <cstdint>

namespace stepsize {

/// Options of LinearLR.
class LinearLROptions {
 public:
  /// Factor of the base rate at t = 0; in [0, 1]. Default: Python's.
  TORCH_ARG(double, start_factor) = 1.0 / 3.0;
  /// Factor from t = total_iters on; in [0, 1]. Default: Python's.
  TORCH_ARG(double, end_factor) = 1.0;
  /// Steps from the one to the other; >= 0. Default: Python's.
  TORCH_ARG(int64_t, total_iters) = 5;

 public:
  /// Throws c10::Error where an option is out of its range.
  LRRule rule() const;
};

/// lr(t) = base_lr * (start_factor + (end_factor - start_factor) * x), with
/// x = min(t, total_iters) / total_iters. Python:
/// torch.optim.lr_scheduler.LinearLR (which fails for start_factor = 0).
class LinearLR : public RuleLR {
 public:
  explicit LinearLR(
      torch::optim::Optimizer& optimizer, const LinearLROptions& options = {});
};

}  // namespace stepsize
