#pragma once

#include <stepsize/lr_scheduler/rule_lr.h>
#include <torch/arg.h>

#include <cstdint>

namespace stepsize {

/// Options of PolynomialLR.
class PolynomialLROptions {
 public:
  /// Steps until the rate is zero; >= 0. Default: Python's.
  TORCH_ARG(int64_t, total_iters) = 5;
  /// Exponent; finite and > 0. Default: Python's, a straight line.
  TORCH_ARG(double, power) = 1.0;

 public:
  /// Throws c10::Error where an option is out of its range.
  LRRule rule() const;
};

/// lr(t) = base_lr * (1 - min(t, total_iters) / total_iters)^power. Python:
/// torch.optim.lr_scheduler.PolynomialLR.
class PolynomialLR : public RuleLR {
 public:
  explicit PolynomialLR(
      torch::optim::Optimizer& optimizer,
      const PolynomialLROptions& options = {});
};

}  // namespace stepsize
