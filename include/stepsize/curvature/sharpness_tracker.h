#pragma once

#include <stepsize/state/option_list.h>
#include <torch/arg.h>

#include <cstdint>
#include <limits>
#include <vector>

namespace stepsize {

/// Options of SharpnessTracker.
class SharpnessTrackerOptions {
 public:
  /// The share s of the stability limit; > 0 and finite. 0.5 holds for small
  /// batches, whose curvature is noisy, 0.8 for the full batch; at 1 training
  /// runs at the edge of stability, and beyond it fails.
  TORCH_ARG(double, safety) = 0.5;
  /// Updates between two measurements at most; >= 1. They start at 1 and
  /// double.
  TORCH_ARG(int64_t, max_interval) = 10;
  /// The rate grows by this factor an update at most; >= 1.
  TORCH_ARG(double, lr_growth) = 1.01;
  /// The rate stays below this times the one that the first sharpness above
  /// zero allows; >= 1, infinity sets no limit. The curvature of a
  /// cross-entropy goes to zero, and an uncapped rate to infinity.
  TORCH_ARG(double, lr_cap) = 10.0;
  /// The rate stays below this; > 0, infinity sets no limit.
  TORCH_ARG(double, max_lr) = std::numeric_limits<double>::infinity();
  /// Share of the old value where a smaller one is measured; in [0, 1). A
  /// larger one counts at once.
  TORCH_ARG(double, decay) = 0.99;

 public:
  static const OptionList<SharpnessTrackerOptions>& option_list();
};

/// Turns measured sharpness (the Hessian's eigenvalue of largest magnitude,
/// lambda) into a rate, and says when to measure again:
///
///   lambda = max(measured, decay lambda + (1 - decay) measured)
///   rate = min(2 s / lambda, lr_growth rate, lr_cap first rate, max_lr)
///
/// The interval between measurements doubles up to max_interval and returns to
/// 1 where a measurement is above 1.25 lambda. A pure value: no tensor is seen.
///
/// With a sharpness of zero from the start there is no limit: the rate is
/// max_lr, or 1e-3 where that is infinite, until there is curvature. From then
/// on it may grow, from where it is; "first rate" is then the one that this
/// first curvature allows. Who has a rate of their own for flat ground does not
/// pass such zeros on.
class SharpnessTracker {
 public:
  /// Throws c10::Error, naming option, rule and value, where an option is out
  /// of its range.
  explicit SharpnessTracker(const SharpnessTrackerOptions& options = {});

  /// Whether there has been a measurement.
  bool started() const { return measurements_ > 0; }
  /// Measurements so far, counted up to CurvatureMeter::kStartMeasurements.
  int64_t measurements() const { return measurements_; }
  /// Whether the coming update should be measured.
  bool due() const { return wait_ == 0; }

  /// Asks for a measurement of the coming update.
  void hurry() { wait_ = 0; }

  /// Takes a measurement in, |Hv| of a unit v; finite and >= 0, c10::Error
  /// otherwise.
  void measure(double sharpness);
  /// The same as if it were the first: what was measured before no longer
  /// counts, as it was on another scale. Of the rates the last one does, which
  /// grows by the factor `growth` at most; >= 1, c10::Error otherwise.
  void measure_anew(double sharpness, double growth);

  /// The rate of the coming update, which is counted. Throws c10::Error before
  /// the first measurement.
  double next_rate();

  /// lambda; NaN before the first measurement.
  double sharpness() const;
  /// The rate of the last update (of the coming one before the first); 0
  /// before the first measurement.
  double rate() const { return rate_; }
  /// Updates from one measurement to the next.
  int64_t interval() const { return interval_; }

  const SharpnessTrackerOptions& options() const { return options_; }
  /// Goes on with other options. Throws as the constructor does.
  void set_options(const SharpnessTrackerOptions& options);

  /// The state, to be given to restore() of a tracker of any options; that
  /// throws c10::Error where it is none, and changes nothing then.
  std::vector<double> state() const;
  void restore(const std::vector<double>& state);

 private:
  void take(double sharpness, bool first, double limit);
  double target() const;
  double first_rate() const;

  SharpnessTrackerOptions options_;
  int64_t measurements_ = 0;
  double sharpness_ = 0;
  double rate_ = 0;
  // Infinite until a sharpness above zero has been seen.
  double cap_ = std::numeric_limits<double>::infinity();
  int64_t interval_ = 1;
  int64_t wait_ = 0;
  // Whether no update has had the first rate yet.
  bool fresh_ = false;
  // Whether a sharpness above zero has been seen.
  bool curved_ = false;
};

/// Throws what the constructor of a tracker throws, in the name of `kind`.
void check_tracker_options(
    const char* kind, const SharpnessTrackerOptions& options);

}  // namespace stepsize
