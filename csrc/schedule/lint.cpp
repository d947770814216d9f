#include <stepsize/schedule/lint.h>

#include "csrc/schedule/check.h"
#include "csrc/schedule/node.h"
#include "csrc/text/number.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace stepsize {
namespace {

using detail::factor_or_nan;
using detail::kInfinity;
using detail::kNaN;
using detail::number_text;
using detail::short_number_text;

// A difference that a person would see in a plot: relative to the greater of
// two factors, or to the range of the run.
constexpr double kVisible = 0.01;
// Points of a run that are looked at.
constexpr int64_t kSamples = 4096;

// What is left of 0 by rounding, relative to the peak of the run.
constexpr double kRounding = 1e-9;

struct Sample {
  double t;
  double factor;
};

// The factors of the run at whole steps, the last included: all of them, or
// one out of each of kSamples stretches, from places in it that differ, so
// that no cycle of the schedule goes unseen. NaN where there is none.
std::vector<Sample> sample_run(const Schedule& schedule, double last) {
  constexpr double kGoldenRatio = 0.6180339887498949;
  std::vector<Sample> samples;
  const double count = std::min<double>(kSamples, std::floor(last) + 1);
  const double stretch = (last + 1) / count;
  for (double i = 0; i < count; ++i) {
    const double place = i * kGoldenRatio - std::floor(i * kGoldenRatio);
    const double t = i + 1 == count ? last : std::floor((i + place) * stretch);
    samples.push_back({t, factor_or_nan(schedule, t)});
  }
  return samples;
}

// The first whole time without a factor, where there is one at `good` and none
// at `bad`.
double first_gap(const Schedule& schedule, double good, double bad) {
  while (bad - good > 1) {
    const double middle = std::floor(good + (bad - good) / 2);
    if (middle == good || middle == bad) {
      break;  // where doubles stand further apart than 1
    }
    (std::isnan(factor_or_nan(schedule, middle)) ? bad : good) = middle;
  }
  return bad;
}

bool lower(const Sample& a, const Sample& b) { return a.factor < b.factor; }

class Linter {
 public:
  // Noise is meant to go up and down: looked at is the curve under it.
  Linter(const Schedule& schedule, double run_length)
      : schedule_(detail::calm(schedule)),
        run_length_(run_length),
        last_(std::max(0.0, std::ceil(run_length) - 1)),
        samples_(sample_run(schedule_, last_)) {
    leave_out_the_gap();
    if (!samples_.empty()) {
      peak_ = *std::max_element(samples_.begin(), samples_.end(), lower);
    }
  }

  std::vector<LintWarning> run() {
    if (!samples_.empty()) {
      check_first_update();
      check_joins();
    }
    if (std::isnan(gap_)) {
      check_rise();
      check_floor();
      check_factors();
      check_length();
    } else {
      check_gap();
    }
    std::stable_sort(
        warnings_.begin(),
        warnings_.end(),
        [](const LintWarning& a, const LintWarning& b) { return a.at < b.at; });
    return std::move(warnings_);
  }

 private:
  void warn(LintKind kind, double at, const std::string& message) {
    warnings_.push_back({kind, at, message});
  }

  // Looked at is the run up to the first time without a factor.
  void leave_out_the_gap() {
    const auto gap = std::find_if(
        samples_.begin(), samples_.end(), [](const Sample& sample) {
          return std::isnan(sample.factor);
        });
    if (gap == samples_.end()) {
      return;
    }
    gap_ = gap == samples_.begin() ? gap->t
                                   : first_gap(schedule_, (gap - 1)->t, gap->t);
    last_ = gap_ - 1;
    samples_.erase(gap, samples_.end());
  }

  void check_gap() {
    try {
      schedule_(gap_);
    } catch (const std::domain_error& error) {
      warn(
          LintKind::kNoFactor,
          gap_,
          "there is no factor at t = " + number_text(gap_) + " (" +
              error.what() + ")");
    }
  }

  void check_first_update() {
    if (samples_.front().factor == 0) {
      warn(
          LintKind::kFirstUpdateAtZero,
          0,
          "the rate is 0 at t = 0: the first update changes nothing");
    }
  }

  bool is_jump(double before, double after) const {
    return std::abs(after - before) >
           std::max(
               kVisible * std::max(after, before), kRounding * peak_.factor);
  }

  void check_joins() {
    double last = 0;
    for (const detail::Join& join : sorted_joins()) {
      if (!(join.t > last && join.t <= last_) ||
          !is_jump(join.before, join.after)) {
        continue;
      }
      last = join.t;
      warn(
          LintKind::kJumpAtJoin,
          join.t,
          "the factor jumps from " + short_number_text(join.before) + " to " +
              short_number_text(join.after) +
              " where two curves join, at t = " + number_text(join.t));
    }
  }

  std::vector<detail::Join> sorted_joins() const {
    std::vector<detail::Join> joins = schedule_.node().joins();
    std::stable_sort(
        joins.begin(),
        joins.end(),
        [](const detail::Join& a, const detail::Join& b) { return a.t < b.t; });
    return joins;
  }

  void check_rise() {
    const auto peak = std::max_element(samples_.begin(), samples_.end(), lower);
    const auto low = std::min_element(peak, samples_.end(), lower);
    // A curve may be back down just when the run is over, or up just then.
    const double end = std::min(samples_.back().factor, end_factor());
    if (end - low->factor > 5 * kVisible * peak_.factor) {
      warn(
          LintKind::kRiseAfterEnd,
          low->t,
          "the factor came down to " + short_number_text(low->factor) +
              " at t = " + number_text(low->t) + " and is up again at " +
              short_number_text(end) + " when the run ends");
    }
  }

  // Measured at the run's end too, not only at its updates: a curve that is
  // just as long as the run gets to its floor there, a cycle just before.
  void check_floor() {
    const double floor = schedule_.node().floor();
    const auto low = std::min_element(samples_.begin(), samples_.end(), lower);
    const double lowest = std::min(
        {low->factor,
         end_factor(),
         factor_or_nan(schedule_, std::nextafter(run_length_, 0.0))});
    if (lowest - floor > kVisible * (peak_.factor - floor) && lowest > floor) {
      warn(
          LintKind::kFloorNotReached,
          run_length_,
          "the lowest factor of the schedule, " + short_number_text(floor) +
              ", is never reached: the run's lowest is " +
              short_number_text(lowest));
    }
  }

  // Where a rate was given for a factor, most likely.
  void check_factors() {
    const auto low = std::min_element(samples_.begin(), samples_.end(), lower);
    if (low->factor > 1) {
      warn(
          LintKind::kFloorAboveOne,
          low->t,
          "every factor is above 1, the lowest " +
              short_number_text(low->factor) +
              ": a factor multiplies the base rate, and is no rate itself");
    }
  }

  void check_length() {
    const double length = schedule_.length();
    // Shares of a run add up to it but for rounding.
    if (std::abs(run_length_ - length) <= kRounding * run_length_) {
      return;
    }
    if (run_length_ < length && length < kInfinity) {
      warn(
          LintKind::kRunShorter,
          run_length_,
          "the run ends at t = " + number_text(run_length_) +
              ", at the factor " + short_number_text(end_factor()) +
              "; the schedule goes on to t = " + number_text(length));
    } else if (run_length_ > length && !ends_with_a_step()) {
      const double held = factor_or_nan(schedule_, length);
      if (std::isnan(held)) {
        return;  // an end between the last update and the end of the run
      }
      warn(
          LintKind::kRunLonger,
          length,
          "the schedule ends at t = " + number_text(length) +
              ", the run at t = " + number_text(run_length_) + ": the factor " +
              short_number_text(held) + " is held for the rest" +
              (held == 0 ? ", where no update changes anything" : ""));
    }
  }

  // Then the last value is there to be held: the end of multi_step, say.
  bool ends_with_a_step() const {
    const double length = schedule_.length();
    return is_jump(
        factor_or_nan(schedule_, std::nextafter(length, 0.0)),
        factor_or_nan(schedule_, length));
  }

  // Where the run ends, or just before where there is no factor any more.
  double end_factor() const {
    const double factor = factor_or_nan(schedule_, run_length_);
    return std::isnan(factor) ? samples_.back().factor : factor;
  }

  Schedule schedule_;
  double run_length_;
  double last_;        // time of the last update that is looked at
  double gap_ = kNaN;  // first time of an update that has no factor
  std::vector<Sample> samples_;
  Sample peak_{};
  std::vector<LintWarning> warnings_;
};

}  // namespace

std::vector<LintWarning> lint(const Schedule& schedule, double run_length) {
  detail::check_positive(run_length, "lint", "run_length");
  return Linter(schedule, run_length).run();
}

}  // namespace stepsize
