#pragma once

#include <stepsize/curvature/sharpness_tracker.h>
#include <stepsize/curvature/step_size_policy.h>
#include <torch/arg.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace stepsize {

/// Options of SharpnessPolicy.
class SharpnessPolicyOptions {
 public:
  /// How the rate follows the measurements: the safety factor s and others.
  TORCH_ARG(SharpnessTrackerOptions, tracker);
  /// Products of each of the first five measurements; >= 1.
  TORCH_ARG(int64_t, start_products) = 20;

 public:
  static const OptionList<SharpnessPolicyOptions>& option_list();
};

/// The power method by differences of gradients: 2 s (1 - m) / lambda for
/// momentum m, with lambda followed by SharpnessTracker. PowerMethodSGD is the
/// same with exact products, and more careful: with a limit for momentum, and
/// three updates at most at a rate that could not be measured. It has a power
/// method of its own, and no CurvatureMeter: a policy sees numbers, and no
/// tensor that a meter could multiply.
///
/// Cost: a gradient for each product, and a buffer as large as the parameters.
class SharpnessPolicy
    : public ListedPolicy<SharpnessPolicy, SharpnessPolicyOptions> {
 public:
  explicit SharpnessPolicy(const SharpnessPolicyOptions& options = {})
      : ListedPolicy(options), tracker_(options.tracker()) {}

  void set_numbers(
      const std::vector<std::pair<std::string, double>>& numbers) override {
    ListedPolicy::set_numbers(numbers);
    tracker_.set_options(options().tracker());
  }
  bool due() const override { return tracker_.due(); }
  void gradient_was_cut() override { tracker_.hurry(); }
  double next_rate(StepProbe& probe) override;
  double rate() const override { return rate_; }
  double curvature() const override { return tracker_.sharpness(); }
  std::vector<double> state() const override;
  void restore(const std::vector<double>& state) override;

 private:
  SharpnessTracker tracker_;
  double rate_ = 0;
};

}  // namespace stepsize
