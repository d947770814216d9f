#include <stepsize/curvature/polyak_policy.h>

#include <algorithm>
#include <cmath>

#include "csrc/curvature/policy_state.h"

namespace stepsize {

const OptionList<PolyakPolicyOptions>& PolyakPolicyOptions::option_list() {
  static const auto list =
      OptionList<PolyakPolicyOptions>("PolyakPolicy")
          .option(STEPSIZE_OPTION(divisor))
          .must_be("finite and > 0", detail::is_positive_number)
          .option(STEPSIZE_OPTION(floor))
          .finite()
          .option(STEPSIZE_OPTION(lr_growth))
          .must_be(">= 1", [](double value) { return value >= 1; })
          .option(STEPSIZE_OPTION(max_lr))
          .must_be("> 0", [](double value) { return value > 0; });
  return list;
}

double PolyakPolicy::curvature() const {
  return plain_ > 0 ? 2 / plain_ : std::numeric_limits<double>::quiet_NaN();
}

double PolyakPolicy::next_rate(StepProbe& probe) {
  const double square = probe.gradient_square();
  if (square > 0) {
    const double gap = probe.loss() - options().floor();
    if (gap <= 0) {
      // This batch is as good as can be: no step, and the rate waits.
      rate_ = 0;
      return rate_;
    }
    const double step = gap / (options().divisor() * square);
    plain_ = std::min(
        {step,
         plain_ > 0 ? options().lr_growth() * plain_ : step,
         options().max_lr(),
         std::numeric_limits<double>::max()});
  }
  rate_ = plain_ * (1 - probe.momentum());
  return rate_;
}

void PolyakPolicy::restore(const std::vector<double>& state) {
  detail::check_policy_state(
      "PolyakPolicy",
      state,
      {detail::StateNumber::kNotNegative, detail::StateNumber::kNotNegative});
  plain_ = state[0];
  rate_ = state[1];
}

}  // namespace stepsize
