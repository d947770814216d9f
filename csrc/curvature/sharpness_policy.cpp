#include <stepsize/curvature/sharpness_policy.h>

#include <c10/util/Exception.h>
#include <stepsize/curvature/curvature_meter.h>

#include <cmath>

namespace stepsize {

const OptionList<SharpnessPolicyOptions>&
SharpnessPolicyOptions::option_list() {
  static const auto list =
      OptionList<SharpnessPolicyOptions>("SharpnessPolicy")
          .include(
              SharpnessTrackerOptions::option_list(),
              [](auto& own) -> auto& { return own.tracker(); })
          .option(STEPSIZE_OPTION(start_products))
          .at_least(1);
  return list;
}

double SharpnessPolicy::next_rate(StepProbe& probe) {
  if (due() && probe.gradient_square() > 0) {
    const bool early =
        tracker_.measurements() < CurvatureMeter::kStartMeasurements;
    double sharpness = 0;
    for (int64_t i = 0; i < (early ? options().start_products() : 1); ++i) {
      sharpness = probe.averaged_product(1.0);
    }
    // What is not finite is measured again in the next update.
    if (std::isfinite(sharpness)) tracker_.measure(sharpness);
  }
  rate_ =
      tracker_.started() ? tracker_.next_rate() * (1 - probe.momentum()) : 0;
  return rate_;
}

std::vector<double> SharpnessPolicy::state() const {
  std::vector<double> all = tracker_.state();
  all.push_back(rate_);
  return all;
}

void SharpnessPolicy::restore(const std::vector<double>& state) {
  SharpnessTracker tracker = tracker_;
  TORCH_CHECK(
      !state.empty() && std::isfinite(state.back()) && state.back() >= 0,
      "SharpnessPolicy: this is no state of that policy");
  tracker.restore({state.begin(), state.end() - 1});
  tracker_ = tracker;
  rate_ = state.back();
}

}  // namespace stepsize
