#include "csrc/schedule/check.h"
#include "csrc/schedule/cycles.h"
#include "csrc/schedule/node.h"
#include "csrc/schedule/ramp_node.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <tuple>

namespace stepsize {
namespace detail {
namespace {

std::string parenthesized(const Schedule& schedule, Binding tightest) {
  const std::string text = schedule.to_string();
  return schedule.node().binding() < tightest ? "(" + text + ")" : text;
}

std::string joined_text(
    const std::vector<Schedule>& parts,
    const char* separator,
    Binding tightest) {
  std::string text;
  for (const Schedule& part : parts) {
    text += text.empty() ? "" : separator;
    text += parenthesized(part, tightest);
  }
  return text;
}

// The parts of a Node of several, or the schedule itself: what keeps
// a > (b > c) and (a > b) > c one and the same tree.
template <typename Node>
void append_parts(const Schedule& schedule, std::vector<Schedule>& parts) {
  if (const auto* node = node_as<Node>(schedule)) {
    parts.insert(parts.end(), node->parts().begin(), node->parts().end());
  } else {
    parts.push_back(schedule);
  }
}

void append_shifted_joins(
    const Schedule& schedule, double offset, std::vector<double>& times) {
  const std::size_t first = times.size();
  schedule.node().joins(times);
  for (std::size_t i = first; i < times.size(); ++i) {
    times[i] += offset;
  }
}

// The time t of a curve of length `from` on the same curve of length `to`.
// The product comes before the division: exact where all are whole.
double rescale(double t, double from, double to) {
  return from == to ? t : t * to / from;
}

class Sequence final : public KeyedNode<Sequence> {
 public:
  explicit Sequence(std::vector<Schedule> parts) : parts_(std::move(parts)) {
    double start = 0;
    for (const Schedule& part : parts_) {
      starts_.push_back(start);
      start += part.length();
    }
    length_ = start;
  }

  double value(double t) const override {
    const auto next = std::upper_bound(starts_.begin(), starts_.end(), t);
    const auto i = static_cast<std::size_t>(next - starts_.begin()) - 1;
    return parts_[i](t - starts_[i]);
  }
  double length() const override { return length_; }
  std::string text() const override {
    return joined_text(parts_, " > ", Binding::kProduct);
  }
  Binding binding() const override { return Binding::kSequence; }
  void joins(std::vector<double>& times) const override {
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      if (i > 0) {
        times.push_back(starts_[i]);
      }
      append_shifted_joins(parts_[i], starts_[i], times);
    }
  }
  double floor() const override { return parts_.back().node().floor(); }

  const std::vector<Schedule>& parts() const { return parts_; }
  const auto& key() const { return parts_; }

 private:
  std::vector<Schedule> parts_;
  std::vector<double> starts_;
  double length_ = 0;
};

class Product final : public KeyedNode<Product> {
 public:
  explicit Product(std::vector<Schedule> parts) : parts_(std::move(parts)) {
    double longest = 0;
    bool all_constant = true;
    for (const Schedule& part : parts_) {
      if (node_as<Constant>(part) == nullptr) {
        longest = std::max(longest, part.length());
        all_constant = false;
      }
    }
    length_ = all_constant ? kInfinity : longest;
  }

  double value(double t) const override {
    double product = 1;
    for (const Schedule& part : parts_) {
      product *= part(t);
    }
    return product;
  }
  double length() const override { return length_; }
  std::string text() const override {
    return joined_text(parts_, " * ", Binding::kAtom);
  }
  Binding binding() const override { return Binding::kProduct; }
  void joins(std::vector<double>& times) const override {
    for (const Schedule& part : parts_) {
      part.node().joins(times);
    }
  }
  double floor() const override {
    double product = 1;
    for (const Schedule& part : parts_) {
      product *= part.node().floor();
    }
    return product;
  }

  const std::vector<Schedule>& parts() const { return parts_; }
  const auto& key() const { return parts_; }

 private:
  std::vector<Schedule> parts_;
  double length_ = 0;
};

class Clamp final : public KeyedNode<Clamp> {
 public:
  Clamp(Schedule inner, double low, double high)
      : inner_(std::move(inner)), low_(low), high_(high) {}

  double value(double t) const override {
    return std::clamp(inner_(t), low_, high_);
  }
  double length() const override { return inner_.length(); }
  std::string text() const override {
    return parenthesized(inner_, Binding::kAtom) + " clamp " +
           format_number(low_) + " " + format_number(high_);
  }
  void joins(std::vector<double>& times) const override {
    inner_.node().joins(times);
  }
  double floor() const override {
    const double floor = inner_.node().floor();
    return std::isnan(floor) ? low_ : std::clamp(floor, low_, high_);
  }
  auto key() const { return std::tie(inner_, low_, high_); }

 private:
  Schedule inner_;
  double low_;
  double high_;
};

class Repeat final : public KeyedNode<Repeat> {
 public:
  Repeat(Schedule inner, int64_t count, double stretch, double decay)
      : inner_(std::move(inner)),
        count_(count),
        stretch_(stretch),
        decay_(decay),
        length_(
            count == Schedule::kForever
                ? kInfinity
                : cycle_start(
                      static_cast<double>(count),
                      inner_.length(),
                      stretch)) {}

  double value(double t) const override {
    if (t >= length_) {
      return inner_(inner_.length()) *
             std::pow(decay_, static_cast<double>(count_ - 1));
    }
    const CyclePosition cycle = locate_cycle(t, inner_.length(), stretch_);
    return inner_(rescale(cycle.offset, cycle.length, inner_.length())) *
           std::pow(decay_, cycle.index);
  }
  double length() const override { return length_; }
  std::string text() const override {
    std::string text = parenthesized(inner_, Binding::kAtom) + " repeat";
    if (count_ != Schedule::kForever) {
      text += " " + std::to_string(count_);
    }
    if (stretch_ != 1) {
      text += " stretch " + format_number(stretch_);
    }
    if (decay_ != 1) {
      text += " decay " + format_number(decay_);
    }
    return text;
  }
  // The way back to the start is meant to be a jump; the joins inside are
  // looked at once.
  void joins(std::vector<double>& times) const override {
    inner_.node().joins(times);
  }
  double floor() const override {
    return count_ == Schedule::kForever && decay_ < 1 ? kNaN
                                                      : inner_.node().floor();
  }
  auto key() const { return std::tie(inner_, count_, stretch_, decay_); }

 private:
  Schedule inner_;
  int64_t count_;
  double stretch_;
  double decay_;
  double length_;
};

class Stretch final : public KeyedNode<Stretch> {
 public:
  Stretch(Schedule inner, double length)
      : inner_(std::move(inner)), length_(length) {}

  double value(double t) const override {
    return t >= length_ ? inner_(inner_.length())
                        : inner_(rescale(t, length_, inner_.length()));
  }
  double length() const override { return length_; }
  std::string text() const override {
    return parenthesized(inner_, Binding::kAtom) + " stretch_to " +
           format_number(length_);
  }
  void joins(std::vector<double>& times) const override {
    const std::size_t first = times.size();
    inner_.node().joins(times);
    for (std::size_t i = first; i < times.size(); ++i) {
      times[i] *= length_ / inner_.length();
    }
  }
  auto key() const { return std::tie(inner_, length_); }

 private:
  Schedule inner_;
  double length_;
};

class Shift final : public KeyedNode<Shift> {
 public:
  Shift(Schedule inner, double delay)
      : inner_(std::move(inner)), delay_(delay) {}

  double value(double t) const override {
    return inner_(std::max(0.0, t - delay_));
  }
  double length() const override {
    return std::max(0.0, inner_.length() + delay_);
  }
  std::string text() const override {
    return parenthesized(inner_, Binding::kAtom) + " shift " +
           format_number(delay_);
  }
  void joins(std::vector<double>& times) const override {
    std::vector<double> inner;
    append_shifted_joins(inner_, delay_, inner);
    std::copy_if(
        inner.begin(), inner.end(), std::back_inserter(times), [](double t) {
          return t > 0;
        });
  }
  double floor() const override { return inner_.node().floor(); }
  auto key() const { return std::tie(inner_, delay_); }

 private:
  Schedule inner_;
  double delay_;
};

class Limit final : public KeyedNode<Limit> {
 public:
  Limit(Schedule inner, double length)
      : inner_(std::move(inner)), length_(length) {}

  double value(double t) const override { return inner_(t); }
  double length() const override { return length_; }
  std::string text() const override {
    return parenthesized(inner_, Binding::kAtom) + " for " +
           format_number(length_);
  }
  void joins(std::vector<double>& times) const override {
    std::vector<double> inner;
    inner_.node().joins(inner);
    std::copy_if(
        inner.begin(), inner.end(), std::back_inserter(times), [this](double t) {
          return t < length_;
        });
  }
  auto key() const { return std::tie(inner_, length_); }

 private:
  Schedule inner_;
  double length_;
};

void check_finite(const Schedule& schedule, const char* who) {
  if (!(schedule.length() < kInfinity)) {
    throw std::invalid_argument(
        std::string(who) + ": '" + schedule.to_string() +
        "' has no end; cut it with limit() first (`for` in text)");
  }
}

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

Schedule Schedule::then(const Schedule& next) const {
  detail::check_finite(*this, "then");
  std::vector<Schedule> parts;
  detail::append_parts<detail::Sequence>(*this, parts);
  detail::append_parts<detail::Sequence>(next, parts);
  return detail::make_schedule<detail::Sequence>(std::move(parts));
}

Schedule Schedule::times(const Schedule& other) const {
  std::vector<Schedule> parts;
  detail::append_parts<detail::Product>(*this, parts);
  detail::append_parts<detail::Product>(other, parts);
  return detail::make_schedule<detail::Product>(std::move(parts));
}

Schedule Schedule::clamp(double low, double high) const {
  detail::check_factor(low, "clamp", "low");
  detail::check(high >= low, "clamp", "high must be >= low", high);
  return detail::make_schedule<detail::Clamp>(*this, low, high);
}

Schedule Schedule::repeat(int64_t count, double stretch, double decay) const {
  detail::check_not_empty(*this, "repeat");
  detail::check(
      count == kForever || count >= 1,
      "repeat",
      "count must be >= 1 or kForever",
      static_cast<double>(count));
  detail::check(
      stretch >= 1 && std::isfinite(stretch),
      "repeat",
      "stretch must be >= 1 and finite",
      stretch);
  detail::check(
      decay > 0 && decay <= 1, "repeat", "decay must be in (0, 1]", decay);
  return detail::make_schedule<detail::Repeat>(*this, count, stretch, decay);
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

Schedule Schedule::limit(double length) const {
  detail::check_length(length, "limit", "length");
  return detail::make_schedule<detail::Limit>(*this, length);
}

}  // namespace stepsize
