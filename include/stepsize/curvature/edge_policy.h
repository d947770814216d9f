#pragma once

#include <stepsize/curvature/step_size_policy.h>
#include <torch/arg.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace stepsize {

/// Options of EdgePolicy.
class EdgePolicyOptions {
 public:
  /// The share s of the edge; > 0 and finite. Beyond 1 a loss may grow. It
  /// counts 1 - (1 - m)^2 / 10 times with momentum m.
  TORCH_ARG(double, safety) = 1.0;
  /// The first updates are all measured, so many; >= 1.
  TORCH_ARG(int64_t, start_measurements) = 10;
  /// Updates between two measurements at most; >= 1. They start at 1 and
  /// double.
  TORCH_ARG(int64_t, max_interval) = 20;
  /// The rate grows by this factor an update at most; >= 1.
  TORCH_ARG(double, lr_growth) = 1.1;
  /// The rate stays below this; > 0, infinity sets no limit.
  TORCH_ARG(double, max_lr) = std::numeric_limits<double>::infinity();
  /// Share of the old value where the curvature along the gradient falls; in
  /// [0, 1). A larger one counts at once.
  TORCH_ARG(double, memory) = 0.7;
  /// Share of the old mean of slopes and of curvatures along updates; in
  /// [0, 1).
  TORCH_ARG(double, average) = 0.7;

 public:
  static const OptionList<EdgePolicyOptions>& option_list();
};

/// A rate at the edge of stability, from the loss at two points nearby:
///
///   rate = 2 s min(E[g.u / |u|^2] / E[u'Hu / |u|^2],
///                  sqrt(1 - m^2) |g|^2 / g'Hg)
///
/// for the gradient g, the update's direction u, momentum m and means E over
/// measurements. The first is the step that leaves a quadratic as high as it
/// was (Roulet et al., Stepping on the edge, 2024); the second the geometric
/// mean of momentum's limits 2 (1 + m) / lambda and 2 (1 - m) / lambda, along
/// the gradient of the batch.
///
/// A gradient that was cut halves the rate, down to 0.3 of it, for some 35
/// updates. Where a probe's loss is not finite the rate is halved; where
/// rounding hides a curvature it counts as smaller. More: docs/optimizers.md.
class EdgePolicy : public ListedPolicy<EdgePolicy, EdgePolicyOptions> {
 public:
  using ListedPolicy::ListedPolicy;

  bool due() const override { return wait_ == 0; }
  void gradient_was_cut() override;
  double next_rate(StepProbe& probe) override;
  double rate() const override { return calm_ * rate_; }
  double curvature() const override;
  std::vector<double> state() const override;
  void restore(const std::vector<double>& state) override;

 private:
  bool started() const { return measurements_ > 0; }
  void start(StepProbe& probe);
  bool look_along_gradient(StepProbe& probe);
  bool look_along_update(StepProbe& probe);
  double edge(double momentum) const;

  int64_t measurements_ = 0;
  // g'Hg / |g|^2.
  double curvature_ = 0;
  // Means of g.u and u'Hu, both over |u|^2; the second is 0 before the first
  // measurement.
  double slope_ = 0;
  double bend_ = 0;
  // What the rate grows towards.
  double target_ = 0;
  double rate_ = 0;
  // In [0.3, 1]: what cut gradients have left of the rate.
  double calm_ = 1;
  int64_t interval_ = 1;
  // Updates before the one that is measured.
  int64_t wait_ = 0;
};

}  // namespace stepsize
