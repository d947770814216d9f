#pragma once

#include <stepsize/lr_scheduler/rule_lr.h>
#include <torch/arg.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace stepsize {

/// Options of MultiStepLR.
class MultiStepLROptions {
 public:
  MultiStepLROptions(std::vector<int64_t> milestones)  // NOLINT: implicit
      : milestones_(std::move(milestones)) {}

  /// Steps at which the rate decays, >= 0 and in any order; one that stands
  /// twice counts twice.
  TORCH_ARG(std::vector<int64_t>, milestones);
  /// Factor of each decay; finite and >= 0. Default: Python's.
  TORCH_ARG(double, gamma) = 0.1;

 public:
  /// Throws c10::Error where an option is out of its range.
  LRRule rule() const;
};

/// lr(t) = base_lr * gamma^(number of milestones <= t). Python:
/// torch.optim.lr_scheduler.MultiStepLR. It ends at the last milestone.
class MultiStepLR : public RuleLR {
 public:
  MultiStepLR(
      torch::optim::Optimizer& optimizer, const MultiStepLROptions& options);
};

}  // namespace stepsize
