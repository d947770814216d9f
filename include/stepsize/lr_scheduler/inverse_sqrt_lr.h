#pragma once

#include <stepsize/lr_scheduler/rule_lr.h>
#include <torch/arg.h>

#include <cstdint>
#include <optional>

namespace stepsize {

/// Options of InverseSqrtLR.
class InverseSqrtLROptions {
 public:
  InverseSqrtLROptions(int64_t warmup_steps)  // NOLINT: implicit
      : warmup_steps_(warmup_steps) {}

  /// Steps until the base rate is reached; > 0.
  TORCH_ARG(int64_t, warmup_steps);
  /// Factor of the base rate at t = 0; in [0, 1). Unset:
  /// 1 / (warmup_steps + 1).
  TORCH_ARG(std::optional<double>, start_factor) = std::nullopt;

 public:
  /// Throws c10::Error where an option is out of its range.
  LRRule rule() const;
};

/// A linear warm-up to base_lr, then lr(t) = base_lr sqrt(warmup_steps / t):
/// the Transformer's schedule (Vaswani et al. 2017, eq. 3), scaled so that the
/// base rate is the peak. fairseq: inverse_sqrt.
class InverseSqrtLR : public RuleLR {
 public:
  InverseSqrtLR(
      torch::optim::Optimizer& optimizer, const InverseSqrtLROptions& options);
};

}  // namespace stepsize
