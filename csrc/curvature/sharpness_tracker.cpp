#include <stepsize/curvature/sharpness_tracker.h>

#include <c10/util/Exception.h>
#include <stepsize/curvature/curvature_meter.h>

#include <algorithm>
#include <cmath>

#include "csrc/core/check.h"

namespace stepsize {
namespace {

constexpr char kSharpnessTracker[] = "SharpnessTracker";
constexpr double kJump = 1.25;
constexpr double kRateOfTheFlat = 1e-3;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

}  // namespace

const OptionList<SharpnessTrackerOptions>&
SharpnessTrackerOptions::option_list() {
  const auto at_least_one = [](double value) { return value >= 1; };
  static const auto list =
      OptionList<SharpnessTrackerOptions>(kSharpnessTracker)
          .option(STEPSIZE_OPTION(safety))
          .must_be(
              "finite and > 0",
              [](double value) { return std::isfinite(value) && value > 0; })
          .option(STEPSIZE_OPTION(max_interval))
          .count_must_be(
              ">= 1 and < 2^52",
              [](int64_t value) { return value >= 1 && value < (1LL << 52); })
          .option(STEPSIZE_OPTION(lr_growth))
          .must_be(">= 1", at_least_one)
          .option(STEPSIZE_OPTION(lr_cap))
          .must_be(">= 1", at_least_one)
          .option(STEPSIZE_OPTION(max_lr))
          .must_be("> 0", [](double value) { return value > 0; })
          .option(STEPSIZE_OPTION(decay))
          .share();
  return list;
}

void check_tracker_options(
    const char* kind, const SharpnessTrackerOptions& options) {
  SharpnessTrackerOptions::option_list().check(options, kind);
}

SharpnessTracker::SharpnessTracker(const SharpnessTrackerOptions& options)
    : options_(options) {
  check_tracker_options(kSharpnessTracker, options);
}

void SharpnessTracker::set_options(const SharpnessTrackerOptions& options) {
  check_tracker_options(kSharpnessTracker, options);
  options_ = options;
}

double SharpnessTracker::target() const {
  return sharpness_ > 0 ? 2 * options_.safety() / sharpness_ : kInfinity;
}

double SharpnessTracker::first_rate() const {
  if (std::isfinite(target())) return std::min(target(), options_.max_lr());
  return std::isfinite(options_.max_lr()) ? options_.max_lr() : kRateOfTheFlat;
}

void SharpnessTracker::measure(double sharpness) {
  take(sharpness, /*first=*/!started(), kInfinity);
}

void SharpnessTracker::measure_anew(double sharpness, double growth) {
  detail::check_option(
      growth >= 1, kSharpnessTracker, "growth", ">= 1", growth);
  take(sharpness, /*first=*/true, started() ? growth * rate_ : kInfinity);
}

void SharpnessTracker::take(double sharpness, bool first, double limit) {
  detail::check_option(
      std::isfinite(sharpness) && sharpness >= 0,
      kSharpnessTracker,
      "a measurement",
      "finite and >= 0",
      sharpness);
  measurements_ =
      std::min(measurements_ + 1, CurvatureMeter::kStartMeasurements);
  if (first) {
    sharpness_ = sharpness;
    interval_ = 1;
    cap_ = kInfinity;
    curved_ = false;
    rate_ = std::min(first_rate(), limit);
    fresh_ = true;
  } else {
    const bool jump = sharpness > kJump * sharpness_;
    interval_ = jump ? 1 : std::min(2 * interval_, options_.max_interval());
    const double mean =
        options_.decay() * sharpness_ + (1 - options_.decay()) * sharpness;
    sharpness_ = std::max(sharpness, mean);
  }
  wait_ = interval_;
  if (!curved_ && sharpness_ > 0) {
    // Flat ground says nothing of the rates to come.
    curved_ = true;
    cap_ = options_.lr_cap() * first_rate();
  }
  rate_ = std::min({rate_, target(), cap_, options_.max_lr()});
}

double SharpnessTracker::next_rate() {
  TORCH_CHECK(started(), kSharpnessTracker, ": there has been no measurement");
  if (!fresh_ && curved_) {
    rate_ = std::min(
        {target(), options_.lr_growth() * rate_, cap_, options_.max_lr()});
  }
  fresh_ = false;
  wait_ = std::max<int64_t>(wait_ - 1, 0);
  return rate_;
}

double SharpnessTracker::sharpness() const {
  return started() ? sharpness_ : std::numeric_limits<double>::quiet_NaN();
}

std::vector<double> SharpnessTracker::state() const {
  return {
      static_cast<double>(measurements_),
      sharpness_,
      rate_,
      cap_,
      static_cast<double>(interval_),
      static_cast<double>(wait_),
      fresh_ ? 1.0 : 0.0,
      curved_ ? 1.0 : 0.0};
}

void SharpnessTracker::restore(const std::vector<double>& state) {
  const auto is_count = [](double value, double least, double most) {
    return value >= least && value <= most && value == std::floor(value);
  };
  const bool holds =
      state.size() == 8 &&
      is_count(state[0], 0, CurvatureMeter::kStartMeasurements) &&
      std::isfinite(state[1]) && state[1] >= 0 && std::isfinite(state[2]) &&
      state[2] >= 0 && state[3] > 0 && is_count(state[4], 1, 0x1p53) &&
      is_count(state[5], 0, state[4]) && is_count(state[6], 0, 1) &&
      is_count(state[7], 0, 1);
  TORCH_CHECK(holds, kSharpnessTracker, ": this is no state of a tracker");
  measurements_ = static_cast<int64_t>(state[0]);
  sharpness_ = state[1];
  rate_ = state[2];
  cap_ = state[3];
  interval_ = static_cast<int64_t>(state[4]);
  wait_ = static_cast<int64_t>(state[5]);
  fresh_ = state[6] == 1;
  curved_ = state[7] == 1;
}

}  // namespace stepsize
