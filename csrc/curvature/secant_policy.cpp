#include <stepsize/curvature/secant_policy.h>

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>

#include "csrc/curvature/policy_state.h"

namespace stepsize {
namespace {

// Where nothing is known, a step down this share of the loss along the tangent.
constexpr double kFirstSecant = 1e-3;
constexpr double kTooFar = 10;

}  // namespace

const OptionList<SecantPolicyOptions>& SecantPolicyOptions::option_list() {
  static const auto list =
      OptionList<SecantPolicyOptions>("SecantPolicy")
          .option(STEPSIZE_OPTION(safety))
          .must_be("finite and > 0", detail::is_positive_number)
          .option(STEPSIZE_OPTION(interval))
          .count_must_be(">= 1 and < 2^52", detail::is_interval)
          .option(STEPSIZE_OPTION(max_lr))
          .must_be("> 0", [](double value) { return value > 0; });
  return list;
}

double SecantPolicy::curvature() const {
  return started_ ? change_ : std::numeric_limits<double>::quiet_NaN();
}

double SecantPolicy::growth() const {
  return before_ > 0 ? std::sqrt(1 + plain_ / before_)
                     : std::numeric_limits<double>::infinity();
}

double SecantPolicy::next_rate(StepProbe& probe) {
  const double damped = 1 - probe.momentum();
  if (wait_ > 0) {
    --wait_;
  } else if (const double square = probe.gradient_square(); square > 0) {
    double step = rate_;
    if (!(step > 0)) {
      const double loss = std::abs(probe.loss());
      step = loss > 0 ? kFirstSecant * loss / square : kFirstSecant;
      plain_ = step;
    }
    const double change = probe.gradient_change(step);
    wait_ = options().interval() - 1;
    started_ = true;
    // Where a gradient is not finite the step was too long by far.
    change_ = std::isfinite(change) ? change : kTooFar / step;
  }
  if (!started_) return 0;
  const double bound = change_ > 0 ? options().safety() / change_
                                   : std::numeric_limits<double>::infinity();
  // Growth without an end and no bound: the step that has been looked at.
  double next = std::min(growth() * plain_, bound);
  if (!std::isfinite(next)) next = plain_;
  before_ = plain_;
  plain_ = std::min(next, options().max_lr());
  rate_ = plain_ * damped;
  return rate_;
}

std::vector<double> SecantPolicy::state() const {
  return {
      started_ ? 1.0 : 0.0,
      change_,
      plain_,
      before_,
      rate_,
      static_cast<double>(wait_)};
}

void SecantPolicy::restore(const std::vector<double>& state) {
  detail::check_policy_state(
      "SecantPolicy",
      state,
      {detail::StateNumber::kCount,
       detail::StateNumber::kNotNegative,
       detail::StateNumber::kNotNegative,
       detail::StateNumber::kNotNegative,
       detail::StateNumber::kNotNegative,
       detail::StateNumber::kCount});
  TORCH_CHECK(
      state[0] <= 1 && (state[0] == 0 || state[2] > 0) &&
          state[5] < static_cast<double>(options().interval()),
      "SecantPolicy: this is no state of that policy");
  started_ = state[0] != 0;
  change_ = state[1];
  plain_ = state[2];
  before_ = state[3];
  rate_ = state[4];
  wait_ = static_cast<int64_t>(state[5]);
}

}  // namespace stepsize
