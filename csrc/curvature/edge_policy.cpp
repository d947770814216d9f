#include <stepsize/curvature/edge_policy.h>

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>

#include "csrc/curvature/policy_state.h"

namespace stepsize {
namespace {

// A probe's step, as a share of the rate: far enough for the losses to differ,
// and near enough to be of this step.
constexpr double kProbeShare = 0.3;
// The first probe goes down this share of the loss, along the tangent.
constexpr double kFirstShare = 1e-3;
constexpr int kMostFirstProbes = 16;
// The bend shows where the parabola's lowest point is this near, in steps.
constexpr double kBend = 3;
constexpr double kLonger = 4;
constexpr double kShorter = 256;
// At the edge itself an update without momentum and noise only changes sides.
constexpr double kLessWithoutMomentum = 0.1;
// What the bound along the update leaves of the rate at least.
constexpr double kLeastLeft = 0.1;
// What a cut gradient leaves of the rate, how fast that comes back, and what
// many leave: late in training, where losses are small, some gradients are
// always far longer than the others.
constexpr double kAlarm = 0.5;
constexpr double kRecovery = 1.02;
constexpr double kLeastCalm = 0.3;

bool resolved(const ProbedCurvature& found) {
  return std::abs(found.value) > found.resolution;
}

// The root of the product of 1 - m and 1 + m.
double momentum_root(double momentum) {
  return std::sqrt((1 - momentum) * (1 + momentum));
}

}  // namespace

const OptionList<EdgePolicyOptions>& EdgePolicyOptions::option_list() {
  static const auto list =
      OptionList<EdgePolicyOptions>("EdgePolicy")
          .option(STEPSIZE_OPTION(safety))
          .must_be("finite and > 0", detail::is_positive_number)
          .option(STEPSIZE_OPTION(start_measurements))
          .at_least(1)
          .option(STEPSIZE_OPTION(max_interval))
          .count_must_be(">= 1 and < 2^52", detail::is_interval)
          .option(STEPSIZE_OPTION(lr_growth))
          .must_be(">= 1", [](double value) { return value >= 1; })
          .option(STEPSIZE_OPTION(max_lr))
          .must_be("> 0", [](double value) { return value > 0; })
          .option(STEPSIZE_OPTION(memory))
          .share()
          .option(STEPSIZE_OPTION(average))
          .share();
  return list;
}

double EdgePolicy::curvature() const {
  return started() ? curvature_ : std::numeric_limits<double>::quiet_NaN();
}

double EdgePolicy::edge(double momentum) const {
  const double along_gradient = momentum_root(momentum) / curvature_;
  const double rest = 1 - momentum;
  const double twice =
      2 * options().safety() * (1 - kLessWithoutMomentum * rest * rest);
  // Where the update has gone uphill the mean of slopes may be zero.
  const double along_update =
      bend_ > 0 ? std::max(slope_ / bend_, kLeastLeft * rate_ / twice)
                : along_gradient;
  return twice * std::min(along_gradient, along_update);
}

// From a short step on, longer ones, up to one in which the parabola's bend
// shows: so the first rate is of the curvature at its own scale. At the start
// of training g'Hg may be near zero, or below.
void EdgePolicy::start(StepProbe& probe) {
  const double square = probe.gradient_square();
  const double loss = std::abs(probe.loss());
  double step = loss > 0 ? kFirstShare * loss / square : kFirstShare;
  double longest = 0;
  double found = 0;
  double cliff = 0;
  for (int i = 0; i < kMostFirstProbes; ++i) {
    const ProbedCurvature here = probe.gradient_curvature(step);
    if (!std::isfinite(here.value)) {
      if (longest > 0) {
        // The first step is to end before it.
        cliff = 2 / longest;
        break;
      }
      cliff = 2 / step;
      step /= kShorter;
      continue;
    }
    longest = step;
    if (resolved(here)) {
      found = std::abs(here.value) / square;
      if (kBend * step * found > 1) break;
    }
    step *= kLonger;
  }
  // A loss without any bend has no rate: the first step then ends not far
  // beyond the longest that has been looked at.
  curvature_ =
      std::max({cliff, found, longest > 0 ? 1 / (kBend * longest) : 0.0});
}

void EdgePolicy::gradient_was_cut() {
  wait_ = 0;
  calm_ = std::max(kAlarm * calm_, kLeastCalm);
}

bool EdgePolicy::look_along_gradient(StepProbe& probe) {
  const double root = momentum_root(probe.momentum());
  const ProbedCurvature found =
      probe.gradient_curvature(kProbeShare * rate_ / root);
  if (!std::isfinite(found.value)) return false;
  const double memory = options().memory();
  if (!resolved(found)) {
    // Too small to be seen from a step this short: a longer one will show it.
    curvature_ *= memory;
    return true;
  }
  const double here = std::abs(found.value) / probe.gradient_square();
  curvature_ = std::max(here, memory * curvature_ + (1 - memory) * here);
  return true;
}

bool EdgePolicy::look_along_update(StepProbe& probe) {
  const ProbedCurvature found = probe.update_curvature(kProbeShare * rate_);
  if (!std::isfinite(found.value)) return false;
  if (!resolved(found)) {
    bend_ *= options().average();
    return true;
  }
  // Over |u|^2, so that what is measured while gradients are long does not
  // outweigh all that follows.
  const double square = probe.update_square();
  const double share = bend_ > 0 ? options().average() : 0.0;
  slope_ = share * slope_ + (1 - share) * std::max(probe.slope(), 0.0) / square;
  bend_ = share * bend_ + (1 - share) * std::abs(found.value) / square;
  return true;
}

double EdgePolicy::next_rate(StepProbe& probe) {
  const double momentum = probe.momentum();
  if (!due()) {
    --wait_;
  } else if (probe.gradient_square() > 0) {
    // A rate that has become zero can measure nothing.
    if (!started() || !(rate_ >= std::numeric_limits<double>::min())) {
      start(probe);
      bend_ = 0;
      measurements_ = 1;
      // Momentum is still to come.
      target_ = edge(momentum);
      rate_ = std::min(
          target_ * (1 - momentum) / momentum_root(momentum),
          options().max_lr());
      return rate();
    }
    if (look_along_gradient(probe) && look_along_update(probe)) {
      measurements_ =
          std::min(measurements_ + 1, options().start_measurements() + 1);
      const bool early = measurements_ < options().start_measurements();
      interval_ = early ? 1 : std::min(2 * interval_, options().max_interval());
      wait_ = interval_ - 1;
      target_ = edge(momentum);
    } else {
      target_ = rate_ / 2;
    }
  }
  rate_ =
      std::min({target_, options().lr_growth() * rate_, options().max_lr()});
  calm_ = std::min(kRecovery * calm_, 1.0);
  return rate();
}

std::vector<double> EdgePolicy::state() const {
  return {
      static_cast<double>(measurements_),
      curvature_,
      slope_,
      bend_,
      target_,
      rate_,
      calm_,
      static_cast<double>(interval_),
      static_cast<double>(wait_)};
}

void EdgePolicy::restore(const std::vector<double>& state) {
  detail::check_policy_state(
      "EdgePolicy",
      state,
      {detail::StateNumber::kCount,
       detail::StateNumber::kNotNegative,
       detail::StateNumber::kNotNegative,
       detail::StateNumber::kNotNegative,
       detail::StateNumber::kNotNegative,
       detail::StateNumber::kNotNegative,
       detail::StateNumber::kNotNegative,
       detail::StateNumber::kCount,
       detail::StateNumber::kCount});
  const bool begun = state[0] > 0;
  TORCH_CHECK(
      (!begun || (state[1] > 0 && state[5] > 0)) && state[8] <= state[7] &&
          state[6] >= kLeastCalm && state[6] <= 1 && state[7] >= 1,
      "EdgePolicy: this is no state of that policy");
  measurements_ = static_cast<int64_t>(state[0]);
  curvature_ = state[1];
  slope_ = state[2];
  bend_ = state[3];
  target_ = state[4];
  rate_ = state[5];
  calm_ = state[6];
  interval_ = static_cast<int64_t>(state[7]);
  wait_ = static_cast<int64_t>(state[8]);
}

}  // namespace stepsize
