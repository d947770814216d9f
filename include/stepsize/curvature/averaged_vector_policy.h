#pragma once

#include <stepsize/curvature/step_size_policy.h>
#include <torch/arg.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace stepsize {

/// Options of AveragedVectorPolicy.
class AveragedVectorPolicyOptions {
 public:
  /// The share s of the stability limit; > 0 and finite. The paper has 0.5.
  TORCH_ARG(double, safety) = 0.5;
  /// What a product counts in the mean of vectors; in (0, 1].
  TORCH_ARG(double, weight) = 0.1;
  /// The first updates are all measured, so many; >= 1.
  TORCH_ARG(int64_t, start_measurements) = 50;
  /// Updates from one measurement to the next, from then on; >= 1.
  TORCH_ARG(int64_t, interval) = 10;
  /// The rate grows by this factor an update at most; >= 1.
  TORCH_ARG(double, lr_growth) = 1.01;
  /// The rate stays below this; > 0, infinity sets no limit.
  TORCH_ARG(double, max_lr) = std::numeric_limits<double>::infinity();

 public:
  static const OptionList<AveragedVectorPolicyOptions>& option_list();
};

/// A share of the limit of stability, 2 s / |Psi|, whose mean of products
///
///   Psi = (1 - w) Psi + w H Psi / |Psi|
///
/// is the largest curvature of the whole loss, also where each product is of a
/// batch of one example: the mean of vectors does not overrate it, as a mean of
/// their lengths does. With momentum m, times 1 - m.
///
/// Cost: a gradient for each measurement, and a buffer as large as the
/// parameters. Until Psi has found its direction it is too short, and the rate
/// too large: the first rate is that of a full product.
///
/// Source: LeCun, Simard, Pearlmutter, Automatic learning rate maximization by
/// on-line estimation of the Hessian's eigenvectors, 1993.
class AveragedVectorPolicy
    : public ListedPolicy<AveragedVectorPolicy, AveragedVectorPolicyOptions> {
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
  int64_t measurements_ = 0;
  double length_ = 0;
  double plain_ = 0;
  double rate_ = 0;
  int64_t wait_ = 0;
};

}  // namespace stepsize
