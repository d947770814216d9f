#pragma once

#include <stepsize/curvature/step_size_policy.h>
#include <torch/arg.h>

#include <limits>
#include <string>
#include <vector>

namespace stepsize {

/// Options of PolyakPolicy.
class PolyakPolicyOptions {
 public:
  /// c; > 0 and finite. 0.5 is best for convex losses, larger is more careful.
  TORCH_ARG(double, divisor) = 1.0;
  /// The lowest loss that a batch can have, coupled decay with it; finite. 0
  /// for a cross-entropy that a network can learn by heart; too low a floor
  /// makes steps too long.
  TORCH_ARG(double, floor) = 0.0;
  /// The rate grows by this factor an update at most; >= 1.
  TORCH_ARG(double, lr_growth) = 1.01;
  /// The cap: the rate stays below this; > 0, infinity sets no limit.
  TORCH_ARG(double, max_lr) = std::numeric_limits<double>::infinity();

 public:
  static const OptionList<PolyakPolicyOptions>& option_list();
};

/// The stochastic Polyak step with a cap, from loss and gradient alone:
///
///   rate = min((loss - floor) / (c |g|^2), lr_growth rate', max_lr)
///
/// for the last rate rate'; weight decay that is coupled is in the loss, as
/// decay / 2 |w|^2, and in g. With momentum m, times 1 - m. Where the floor is
/// out of reach (labels that are wrong, a text) the steps do not get shorter:
/// cap them, or let a schedule.
///
/// Source: Loizou et al., Stochastic Polyak step-size for SGD: an adaptive
/// learning rate for fast convergence, 2021 (SPS_max, with its smoothing).
class PolyakPolicy : public ListedPolicy<PolyakPolicy, PolyakPolicyOptions> {
 public:
  using ListedPolicy::ListedPolicy;

  bool due() const override { return false; }
  void gradient_was_cut() override {}
  double next_rate(StepProbe& probe) override;
  double rate() const override { return rate_; }
  /// 2 / rate without momentum: the curvature whose limit the rate would be.
  double curvature() const override;
  std::vector<double> state() const override { return {plain_, rate_}; }
  void restore(const std::vector<double>& state) override;

 private:
  double plain_ = 0;
  double rate_ = 0;
};

}  // namespace stepsize
