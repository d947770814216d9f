#pragma once

#include <stepsize/curvature/step_size_policy.h>
#include <torch/arg.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace stepsize {

/// Options of SecantPolicy.
class SecantPolicyOptions {
 public:
  /// The share s; > 0 and finite. The paper has 0.5.
  TORCH_ARG(double, safety) = 0.5;
  /// Updates from one measurement to the next; >= 1. The paper has 1.
  TORCH_ARG(int64_t, interval) = 1;
  /// The rate stays below this; > 0, infinity sets no limit.
  TORCH_ARG(double, max_lr) = std::numeric_limits<double>::infinity();

 public:
  static const OptionList<SecantPolicyOptions>& option_list();
};

/// The rule of AdGD, which needs no Hessian product and no constant:
///
///   rate = min(sqrt(1 + q) rate', s |dw| / |dg|),        q = rate' / rate''
///
/// for the last two rates rate' and rate''. The paper takes the change dg of
/// the gradient over the step dw that has been made, of the whole loss; here it
/// is that of the batch at hand over a step of the last rate along the update
/// to come, so that batches do not mix. With momentum m, times 1 - m.
///
/// Cost: a gradient for each measurement.
///
/// Source: Malitsky, Mishchenko, Adaptive gradient descent without descent,
/// 2020, algorithm 1.
class SecantPolicy : public ListedPolicy<SecantPolicy, SecantPolicyOptions> {
 public:
  using ListedPolicy::ListedPolicy;

  bool due() const override { return wait_ == 0; }
  void gradient_was_cut() override { wait_ = 0; }
  double next_rate(StepProbe& probe) override;
  double rate() const override { return rate_; }
  double curvature() const override;
  std::vector<double> state() const override;
  void restore(const std::vector<double>& state) override;

 private:
  // Infinite growth at first: the paper's q.
  double growth() const;

  bool started_ = false;
  // |dg| / |dw|.
  double change_ = 0;
  // Without momentum's factor; the last one and that of before.
  double plain_ = 0;
  double before_ = 0;
  double rate_ = 0;
  int64_t wait_ = 0;
};

}  // namespace stepsize
