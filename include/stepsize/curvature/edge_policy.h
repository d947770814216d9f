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
  /// The share s of the edge; > 0 and finite. Beyond 1 a loss may grow.
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

/// A rate at the edge of stability, from the loss at two points near the
/// parameters; no gradient, no Hessian product:
///
///   rate = 2 s min(E[g.u / |u|^2] / E[u'Hu / |u|^2],
///                  sqrt(1 - m^2) |g|^2 / g'Hg)
///
/// for the gradient g, the update's direction u, momentum m and means E over
/// the measurements. On a quadratic a step of 2 g.u / u'Hu leaves the loss as
/// it was, and s is the share of that. The second bound is the geometric mean
/// of the limits of a quadratic, (2 + 2 m) / lambda, and of the same effective
/// rate, (2 - 2 m) / lambda, along the gradient of the batch, whose curvature
/// is the larger the smaller the batch.
///
/// A gradient that was cut takes a quarter of the rate, which comes back by 2%
/// an update, and the next update is measured: with small batches, whose
/// gradients differ, the rate so stays below the edge. A loss that is not
/// finite at a point halves it. Where rounding hides a curvature the last one stays.
///
/// Source of the first bound: Roulet et al., Stepping on the edge: curvature
/// aware learning rate tuners, 2024 (CDAT).
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
  // In (0, 1]: what cut gradients have left of the rate.
  double calm_ = 1;
  int64_t interval_ = 1;
  // Updates before the one that is measured.
  int64_t wait_ = 0;
};

}  // namespace stepsize
