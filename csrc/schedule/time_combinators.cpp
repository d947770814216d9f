#include <stepsize/schedule/cycle.h>

#include "csrc/schedule/check.h"
#include "csrc/schedule/cycle_position.h"
#include "csrc/schedule/node.h"
#include "csrc/text/number.h"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace stepsize {
namespace detail {
namespace {

// The time t of a curve of length `from` on the same curve of length `to`. The
// product comes before the division, and its rounding is made good after: a
// whole answer is exact.
double rescale(double t, double from, double to) {
  const double product = t * to;
  if (from == to || !std::isfinite(product)) {
    return from == to ? t : t / from * to;
  }
  const double quotient = product / from;
  const double rest =
      std::fma(t, to, -product) - std::fma(quotient, from, -product);
  return quotient + rest / from;
}

class Repeat final : public KeyedNode<Repeat> {
 public:
  Repeat(const Schedule& inner, int64_t count, double stretch, CycleDecay decay)
      : KeyedNode(depth_above({inner})),
        inner_(inner),
        count_(count),
        stretch_(stretch),
        decay_(decay),
        length_(
            count == Schedule::kForever
                ? kInfinity
                : cycle_start(
                      static_cast<double>(count), inner_.length(), stretch)) {}

  double value(double t) const override {
    if (t >= length_) {
      return lowered(inner_(inner_.length()), static_cast<double>(count_ - 1));
    }
    const CyclePosition cycle = locate_cycle(t, inner_.length(), stretch_);
    return lowered(
        inner_(rescale(cycle.offset, cycle.length, inner_.length())),
        cycle.index);
  }
  double length() const override { return length_; }
  std::string text() const override {
    std::string text = parenthesized(inner_, Binding::kAtom) + " repeat";
    if (count_ != Schedule::kForever) {
      text += " " + std::to_string(count_);
    }
    if (stretch_ != 1) {
      text += " stretch " + number_text(stretch_);
    }
    if (decay_.factor() != 1) {
      text += " decay " + number_text(decay_.factor());
    }
    if (decay_.level() != 0) {
      text += std::string(" ") + decay_.keyword() + " " +
              number_text(decay_.level());
    }
    return text;
  }
  // The way back to the start is meant to be a jump; the joins inside are
  // looked at once.
  std::vector<Join> joins() const override { return inner_.node().joins(); }
  double floor() const override {
    const double floor = inner_.node().floor();
    // Below the level a cycle's floor only rises, and above it only falls.
    if (decay_.factor() == 1 || floor <= decay_.level()) {
      return floor;
    }
    if (count_ == Schedule::kForever) {
      return kNaN;
    }
    return decay_.level() == 0
               ? floor
               : lowered(floor, static_cast<double>(count_ - 1));
  }
  std::shared_ptr<const ScheduleNode> calm() const override {
    return std::make_shared<const Repeat>(
        detail::calm(inner_), count_, stretch_, decay_);
  }
  auto key() const { return std::tie(inner_, count_, stretch_, decay_); }

 private:
  // The factor of the first time as it is in time `index`.
  double lowered(double factor, double index) const {
    const double height = decay_.height(index);
    return factor * height + decay_.level() * (1 - height);
  }

  Schedule inner_;
  int64_t count_;
  double stretch_;
  CycleDecay decay_;
  double length_;
};

class Stretch final : public KeyedNode<Stretch> {
 public:
  Stretch(const Schedule& inner, double length)
      : KeyedNode(depth_above({inner})), inner_(inner), length_(length) {}

  double value(double t) const override {
    return t >= length_ ? inner_(inner_.length())
                        : inner_(rescale(t, length_, inner_.length()));
  }
  double length() const override { return length_; }
  std::string text() const override {
    return parenthesized(inner_, Binding::kAtom) + " stretch_to " +
           number_text(length_);
  }
  std::vector<Join> joins() const override {
    return changed_joins(inner_, [this](Join& join) {
      join.t = rescale(join.t, inner_.length(), length_);
    });
  }
  std::shared_ptr<const ScheduleNode> calm() const override {
    return std::make_shared<const Stretch>(detail::calm(inner_), length_);
  }
  auto key() const { return std::tie(inner_, length_); }

 private:
  Schedule inner_;
  double length_;
};

class Shift final : public KeyedNode<Shift> {
 public:
  Shift(const Schedule& inner, double delay)
      : KeyedNode(depth_above({inner})), inner_(inner), delay_(delay) {}

  double value(double t) const override {
    // t - delay may round to less than the curve's length.
    return inner_(t >= length() ? inner_.length() : std::max(0.0, t - delay_));
  }
  double length() const override {
    return std::max(0.0, inner_.length() + delay_);
  }
  std::string text() const override {
    return parenthesized(inner_, Binding::kAtom) + " shift " +
           number_text(delay_);
  }
  // What a negative delay moves before 0 is not played.
  std::vector<Join> joins() const override {
    return changed_joins(inner_, [this](Join& join) { join.t += delay_; });
  }
  double floor() const override { return inner_.node().floor(); }
  std::shared_ptr<const ScheduleNode> calm() const override {
    return std::make_shared<const Shift>(detail::calm(inner_), delay_);
  }
  auto key() const { return std::tie(inner_, delay_); }

 private:
  Schedule inner_;
  double delay_;
};

class Limit final : public KeyedNode<Limit> {
 public:
  Limit(const Schedule& inner, double length)
      : KeyedNode(depth_above({inner})), inner_(inner), length_(length) {}

  double value(double t) const override { return inner_(t); }
  double length() const override { return length_; }
  std::string text() const override {
    return parenthesized(inner_, Binding::kAtom) + " for " +
           number_text(length_);
  }
  std::vector<Join> joins() const override {
    std::vector<Join> joins = inner_.node().joins();
    joins.erase(
        std::remove_if(
            joins.begin(),
            joins.end(),
            [this](const Join& join) { return join.t >= length_; }),
        joins.end());
    return joins;
  }
  std::shared_ptr<const ScheduleNode> calm() const override {
    return std::make_shared<const Limit>(detail::calm(inner_), length_);
  }
  auto key() const { return std::tie(inner_, length_); }

 private:
  Schedule inner_;
  double length_;
};

class Stairs final : public KeyedNode<Stairs> {
 public:
  Stairs(const Schedule& inner, double period)
      : KeyedNode(depth_above({inner})), inner_(inner), period_(period) {}

  double value(double t) const override {
    return inner_(std::min(stair_at(t), inner_.length()));
  }
  double length() const override {
    const double end = inner_.length();
    const double stair = std::isfinite(end) ? stair_at(end) : end;
    return stair < end ? stair + period_ : stair;
  }
  std::string text() const override {
    return parenthesized(inner_, Binding::kAtom) + " stairs " +
           number_text(period_);
  }
  double floor() const override { return inner_.node().floor(); }
  std::shared_ptr<const ScheduleNode> calm() const override {
    return std::make_shared<const Stairs>(detail::calm(inner_), period_);
  }
  auto key() const { return std::tie(inner_, period_); }

 private:
  // The last multiple of the period that is not after t; the quotient may have
  // been rounded over a whole number.
  double stair_at(double t) const {
    const double index = std::floor(t / period_);
    if (!std::isfinite(index)) return t;  // finer than any t
    if (index * period_ > t) return (index - 1) * period_;
    const double next = (index + 1) * period_;
    return next <= t ? next : index * period_;
  }

  Schedule inner_;
  double period_;
};

void check_not_empty(const Schedule& schedule, const char* who) {
  check_finite(schedule, who);
  check(
      schedule.length() > 0,
      who,
      "the schedule's length must be > 0",
      schedule.length());
}

}  // namespace
}  // namespace detail

Schedule Schedule::repeat(int64_t count, double stretch, double decay) const {
  detail::check_decay(decay, "repeat", "decay");
  return repeat(
      RepeatOptions().count(count).stretch(stretch).peak_decay(decay));
}

Schedule Schedule::repeat(const RepeatOptions& options) const {
  detail::check_not_empty(*this, "repeat");
  const double peak = options.peak_decay();
  const double height = options.height_decay();
  // A level from which nothing decays is none.
  const double level = peak == 1 && height == 1 ? 0 : options.floor();
  return detail::make_schedule<detail::Repeat>(
      *this,
      options.count(),
      options.stretch(),
      detail::CycleDecay(peak, height, level));
}

Schedule Schedule::stretch_to(double length) const {
  detail::check_not_empty(*this, "stretch_to");
  detail::check_positive(length, "stretch_to", "length");
  return detail::make_schedule<detail::Stretch>(*this, length);
}

Schedule Schedule::shift(double delay) const {
  detail::check(
      std::isfinite(delay) && -delay <= length(),
      "shift",
      "delay must be finite, and a negative one no longer than the schedule",
      delay);
  return detail::make_schedule<detail::Shift>(*this, delay);
}

Schedule Schedule::stairs(double period) const {
  detail::check_positive(period, "stairs", "period");
  return detail::make_schedule<detail::Stairs>(*this, period);
}

Schedule Schedule::limit(double length) const {
  detail::check_length(length, "limit", "length");
  return detail::make_schedule<detail::Limit>(*this, length);
}

}  // namespace stepsize
