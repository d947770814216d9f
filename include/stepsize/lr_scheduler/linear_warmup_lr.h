#pragma once

#include <stepsize/lr_scheduler/rule_lr.h>
#include <torch/arg.h>

#include <cstdint>
#include <optional>

namespace stepsize {

/// Options of LinearWarmupLR.
class LinearWarmupLROptions {
 public:
  LinearWarmupLROptions(int64_t warmup_steps)  // NOLINT: implicit
      : warmup_steps_(warmup_steps) {}

  /// Steps until the base rate is in force; >= 0.
  TORCH_ARG(int64_t, warmup_steps);
  /// Factor of the base rate at t = 0; in [0, 1). Unset:
  /// 1 / (warmup_steps + 1), equal increments and no update at rate zero.
  TORCH_ARG(std::optional<double>, start_factor) = std::nullopt;

 public:
  /// Throws c10::Error where an option is out of its range.
  LRRule rule() const;
};

/// lr(t) = base_lr * (s + (1 - s) min(t / warmup_steps, 1)), with s the
/// start_factor (Goyal et al. 2017, gradual warm-up). Made to stand before
/// others in a SequentialLR.
class LinearWarmupLR : public RuleLR {
 public:
  LinearWarmupLR(
      torch::optim::Optimizer& optimizer, const LinearWarmupLROptions& options);
};

}  // namespace stepsize
