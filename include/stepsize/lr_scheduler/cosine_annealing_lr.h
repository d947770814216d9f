#pragma once

#include <stepsize/lr_scheduler/rule_lr.h>
#include <torch/arg.h>

#include <cstdint>

namespace stepsize {

/// Options of CosineAnnealingLR.
class CosineAnnealingLROptions {
 public:
  CosineAnnealingLROptions(int64_t T_max)  // NOLINT: implicit, as in LibTorch
      : T_max_(T_max) {}

  /// Steps from the base rate to eta_min; > 0.
  TORCH_ARG(int64_t, T_max);
  /// The rate at the end; finite and >= 0. Default: Python's.
  TORCH_ARG(double, eta_min) = 0.0;

 public:
  /// Throws c10::Error where an option is out of its range.
  LRRule rule() const;
};

/// lr(t) = eta_min + (base_lr - eta_min) (1 + cos(pi t / T_max)) / 2 until
/// t = T_max, eta_min ever after (Loshchilov & Hutter 2017, eq. 5, one
/// cycle). Python: torch.optim.lr_scheduler.CosineAnnealingLR, which climbs
/// again past T_max; for that use CosineAnnealingWarmRestarts or a ScheduleLR.
class CosineAnnealingLR : public RuleLR {
 public:
  CosineAnnealingLR(
      torch::optim::Optimizer& optimizer,
      const CosineAnnealingLROptions& options);
};

}  // namespace stepsize
