#pragma once

#include <stepsize/lr_scheduler/rule_lr.h>
#include <torch/arg.h>

#include <cstdint>

namespace stepsize {

/// Options of InverseTimeLR.
class InverseTimeLROptions {
 public:
  InverseTimeLROptions(double decay_rate)  // NOLINT: implicit, as in LibTorch
      : decay_rate_(decay_rate) {}

  /// How fast the rate falls; finite and >= 0.
  TORCH_ARG(double, decay_rate);
  /// Steps for which decay_rate counts once; > 0.
  TORCH_ARG(int64_t, decay_steps) = 1;
  /// Whether t / decay_steps is rounded down.
  TORCH_ARG(bool, staircase) = false;

 public:
  /// Throws c10::Error where an option is out of its range.
  LRRule rule() const;
};

/// lr(t) = base_lr / (1 + decay_rate t / decay_steps) (the decay of Robbins &
/// Monro 1951, under which stochastic approximation converges). Keras:
/// InverseTimeDecay.
class InverseTimeLR : public RuleLR {
 public:
  InverseTimeLR(
      torch::optim::Optimizer& optimizer, const InverseTimeLROptions& options);
};

}  // namespace stepsize
