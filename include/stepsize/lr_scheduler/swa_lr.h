#pragma once

#include <stepsize/lr_scheduler/per_group.h>
#include <stepsize/lr_scheduler/rule_lr.h>
#include <stepsize/schedule/recipe.h>
#include <torch/arg.h>

#include <cstdint>
#include <initializer_list>
#include <utility>

namespace stepsize {

/// Options of SWALR.
class SWALROptions {
 public:
  SWALROptions(PerGroup swa_lr)  // NOLINT: implicit, as in LibTorch
      : swa_lr_(std::move(swa_lr)) {}
  /// One rate a group; so braces make a list, and SWALROptions{0.1} is for an
  /// optimizer of one group.
  SWALROptions(std::initializer_list<double> swa_lr) : swa_lr_(swa_lr) {}

  /// The rate to end at, for all groups or one a group; finite and >= 0.
  TORCH_ARG(PerGroup, swa_lr);
  /// Steps until it is reached; >= 0. Defaults here and below: Python's.
  TORCH_ARG(int64_t, anneal_epochs) = 10;
  /// The curve.
  TORCH_ARG(AnnealStrategy, anneal_strategy) = AnnealStrategy::kCosine;

 public:
  /// Throws c10::Error where an option is out of its range.
  LRRule rule() const;
};

/// Anneals to the rate of stochastic weight averaging and stays there
/// (Izmailov et al. 2018): lr(t) = swa_lr a + start (1 - a), with a going from
/// 0 to 1 in anneal_epochs. Python: torch.optim.swa_utils.SWALR.
///
/// `start` is the rate in force at the first step(), so that another
/// scheduler may drive the optimizer before:
///
///     if (epoch > swa_start) swa_scheduler.step(); else scheduler.step();
///
/// Within a SequentialLR or a ChainedScheduler it is the base rate.
class SWALR : public RuleLR {
 public:
  SWALR(torch::optim::Optimizer& optimizer, const SWALROptions& options);

 protected:
  const char* state_class() const override { return "SWALR"; }
};

}  // namespace stepsize
