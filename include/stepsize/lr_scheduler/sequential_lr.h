#pragma once

#include <stepsize/lr_scheduler/rule_lr.h>
#include <torch/arg.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace stepsize {

/// Options of SequentialLR.
class SequentialLROptions {
 public:
  SequentialLROptions(
      std::vector<LRRule> schedulers, std::vector<int64_t> milestones)
      : schedulers_(std::move(schedulers)),
        milestones_(std::move(milestones)) {}

  /// Options of the schedulers to play, or Schedules; at least one.
  TORCH_ARG(std::vector<LRRule>, schedulers);
  /// The steps at which the second, third, ... take over: one fewer than
  /// there are schedulers, >= 0 and not falling.
  TORCH_ARG(std::vector<int64_t>, milestones);

 public:
  /// Throws c10::Error where an option is out of its range.
  LRRule rule() const;
};

/// Plays schedulers one after the other, each from its own t = 0 and from the
/// groups' base rates. Python: torch.optim.lr_scheduler.SequentialLR.
///
///     SequentialLR scheduler(optimizer, SequentialLROptions(
///         {LinearLROptions().total_iters(5), ExponentialLROptions(0.9)},
///         {5}));
class SequentialLR : public RuleLR {
 public:
  SequentialLR(
      torch::optim::Optimizer& optimizer, const SequentialLROptions& options);
};

}  // namespace stepsize
