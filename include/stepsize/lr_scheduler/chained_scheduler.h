#pragma once

#include <stepsize/lr_scheduler/rule_lr.h>
#include <torch/arg.h>

#include <utility>
#include <vector>

namespace stepsize {

/// Options of ChainedScheduler.
class ChainedSchedulerOptions {
 public:
  ChainedSchedulerOptions(std::vector<LRRule> schedulers)  // NOLINT: implicit
      : schedulers_(std::move(schedulers)) {}

  /// Options of the schedulers to chain, or Schedules; at least one.
  TORCH_ARG(std::vector<LRRule>, schedulers);

 public:
  /// Throws c10::Error where there is none.
  LRRule rule() const;
};

/// Schedulers at work together: at every t the rate of one is the base rate of
/// the next. For those that multiply the base rate by a factor that is the
/// product of the factors. Python: torch.optim.lr_scheduler.ChainedScheduler.
///
///     ChainedScheduler scheduler(optimizer, ChainedSchedulerOptions(
///         {ConstantLROptions().total_iters(4), ExponentialLROptions(0.9)}));
class ChainedScheduler : public RuleLR {
 public:
  ChainedScheduler(
      torch::optim::Optimizer& optimizer,
      const ChainedSchedulerOptions& options);
};

}  // namespace stepsize
