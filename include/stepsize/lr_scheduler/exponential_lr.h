#pragma once

#include <stepsize/lr_scheduler/rule_lr.h>
#include <torch/arg.h>

namespace stepsize {

/// Options of ExponentialLR.
class ExponentialLROptions {
 public:
  ExponentialLROptions(double gamma)  // NOLINT: implicit, as in LibTorch
      : gamma_(gamma) {}

  /// Factor of every step; finite and > 0.
  TORCH_ARG(double, gamma);

 public:
  /// Throws c10::Error where gamma is out of its range.
  LRRule rule() const;
};

/// lr(t) = base_lr * gamma^t. Python: torch.optim.lr_scheduler.ExponentialLR.
class ExponentialLR : public RuleLR {
 public:
  ExponentialLR(
      torch::optim::Optimizer& optimizer, const ExponentialLROptions& options);
};

}  // namespace stepsize
