#pragma once

#include <stepsize/lr_scheduler/rule_lr.h>
#include <torch/arg.h>

#include <cstdint>
#include <optional>

namespace stepsize {

/// Options of WarmupCosineLR.
class WarmupCosineLROptions {
 public:
  WarmupCosineLROptions(int64_t warmup_steps, int64_t total_steps)
      : warmup_steps_(warmup_steps), total_steps_(total_steps) {}

  /// Steps until the base rate is reached; in [0, total_steps].
  TORCH_ARG(int64_t, warmup_steps);
  /// Steps until eta_min is reached, the warm-up's among them; > 0.
  TORCH_ARG(int64_t, total_steps);
  /// Factor of the base rate at t = 0; in [0, 1). Unset:
  /// 1 / (warmup_steps + 1).
  TORCH_ARG(std::optional<double>, start_factor) = std::nullopt;
  /// The rate at the end; finite and >= 0.
  TORCH_ARG(double, eta_min) = 0.0;

 public:
  /// Throws c10::Error where an option is out of its range.
  LRRule rule() const;
};

/// A linear warm-up from start_factor * base_lr to base_lr, then half a cosine
/// down to eta_min at t = total_steps, which is held. The two meet without a
/// jump.
class WarmupCosineLR : public RuleLR {
 public:
  WarmupCosineLR(
      torch::optim::Optimizer& optimizer, const WarmupCosineLROptions& options);
};

}  // namespace stepsize
