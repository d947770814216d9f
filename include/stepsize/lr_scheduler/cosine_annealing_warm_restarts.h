#pragma once

#include <stepsize/lr_scheduler/rule_lr.h>
#include <torch/arg.h>

#include <cstdint>

namespace stepsize {

/// Options of CosineAnnealingWarmRestarts.
class CosineAnnealingWarmRestartsOptions {
 public:
  CosineAnnealingWarmRestartsOptions(int64_t T_0)  // NOLINT: implicit
      : T_0_(T_0) {}

  /// Steps of the first cycle; > 0.
  TORCH_ARG(int64_t, T_0);
  /// Each cycle is this many times as long as the one before; >= 1. Default:
  /// Python's.
  TORCH_ARG(int64_t, T_mult) = 1;
  /// The rate at the end of a cycle; finite and >= 0. Default: Python's.
  TORCH_ARG(double, eta_min) = 0.0;

 public:
  /// Throws c10::Error where an option is out of its range.
  LRRule rule() const;
};

/// SGDR: lr = eta_min + (base_lr - eta_min) (1 + cos(pi T_cur / T_i)) / 2,
/// T_cur steps into a cycle of T_i (Loshchilov & Hutter 2017). Python:
/// torch.optim.lr_scheduler.CosineAnnealingWarmRestarts. A restart falls on
/// the exact step for every T_0 and T_mult.
class CosineAnnealingWarmRestarts : public RuleLR {
 public:
  CosineAnnealingWarmRestarts(
      torch::optim::Optimizer& optimizer,
      const CosineAnnealingWarmRestartsOptions& options);
};

}  // namespace stepsize
