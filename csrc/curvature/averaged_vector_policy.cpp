#include <stepsize/curvature/averaged_vector_policy.h>

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>

#include "csrc/curvature/policy_state.h"

namespace stepsize {
namespace {

// Whole products from a random vector, before the mean begins.
constexpr int kWholeProducts = 20;

}  // namespace

const OptionList<AveragedVectorPolicyOptions>&
AveragedVectorPolicyOptions::option_list() {
  static const auto list =
      OptionList<AveragedVectorPolicyOptions>("AveragedVectorPolicy")
          .option(STEPSIZE_OPTION(safety))
          .must_be("finite and > 0", detail::is_positive_number)
          .option(STEPSIZE_OPTION(weight))
          .must_be(
              "in (0, 1]", [](double value) { return value > 0 && value <= 1; })
          .option(STEPSIZE_OPTION(start_measurements))
          .at_least(1)
          .option(STEPSIZE_OPTION(interval))
          .count_must_be(">= 1 and < 2^52", detail::is_interval)
          .option(STEPSIZE_OPTION(lr_growth))
          .must_be(">= 1", [](double value) { return value >= 1; })
          .option(STEPSIZE_OPTION(max_lr))
          .must_be("> 0", [](double value) { return value > 0; });
  return list;
}

double AveragedVectorPolicy::curvature() const {
  return measurements_ > 0 ? length_ : std::numeric_limits<double>::quiet_NaN();
}

double AveragedVectorPolicy::next_rate(StepProbe& probe) {
  if (wait_ > 0) {
    --wait_;
  } else if (probe.gradient_square() > 0) {
    double length = 0;
    if (measurements_ == 0) {
      for (int i = 0; i < kWholeProducts; ++i) {
        length = probe.averaged_product(1.0);
      }
    } else {
      length = probe.averaged_product(options().weight());
    }
    // What is not finite has left the vector as it was.
    if (std::isfinite(length) && length > 0) {
      length_ = length;
      measurements_ =
          std::min(measurements_ + 1, options().start_measurements());
      if (measurements_ >= options().start_measurements()) {
        wait_ = options().interval() - 1;
      }
    }
  }
  if (measurements_ == 0) return 0;
  const double limit = 2 * options().safety() / length_;
  plain_ = std::min(
      {limit,
       plain_ > 0 ? options().lr_growth() * plain_ : limit,
       options().max_lr()});
  rate_ = plain_ * (1 - probe.momentum());
  return rate_;
}

std::vector<double> AveragedVectorPolicy::state() const {
  return {
      static_cast<double>(measurements_),
      length_,
      plain_,
      rate_,
      static_cast<double>(wait_)};
}

void AveragedVectorPolicy::restore(const std::vector<double>& state) {
  detail::check_policy_state(
      "AveragedVectorPolicy",
      state,
      {detail::StateNumber::kCount,
       detail::StateNumber::kNotNegative,
       detail::StateNumber::kNotNegative,
       detail::StateNumber::kNotNegative,
       detail::StateNumber::kCount});
  TORCH_CHECK(
      (state[0] == 0 || state[1] > 0) &&
          state[4] < static_cast<double>(options().interval()),
      "AveragedVectorPolicy: this is no state of that policy");
  measurements_ = static_cast<int64_t>(state[0]);
  length_ = state[1];
  plain_ = state[2];
  rate_ = state[3];
  wait_ = static_cast<int64_t>(state[4]);
}

}  // namespace stepsize
