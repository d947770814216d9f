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

// The joins of a schedule, each passed through `change`.
template <typename Change>
std::vector<Join> changed_joins(
    const Schedule& schedule, const Change& change) {
  std::vector<Join> joins = schedule.node().joins();
  std::for_each(joins.begin(), joins.end(), change);
  return joins;
}

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
    // t - start may round to less than the last part's length.
    if (t >= length_) {
      return parts_.back()(parts_.back().length());
    }
    const auto next = std::upper_bound(starts_.begin(), starts_.end(), t);
    const auto i = static_cast<std::size_t>(next - starts_.begin()) - 1;
    return parts_[i](t - starts_[i]);
  }
  double length() const override { return length_; }
  std::string text() const override {
    return joined_text(parts_, " > ", Binding::kProduct);
  }
  Binding binding() const override { return Binding::kSequence; }
  std::vector<Join> joins() const override {
    std::vector<Join> joins;
    const Schedule* previous = nullptr;
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      const Schedule& part = parts_[i];
      const double start = starts_[i];
      if (part.length() == 0 && i + 1 < parts_.size()) {
        continue;  // never played
      }
      if (previous != nullptr) {
        joins.push_back({start, (*previous)(previous->length()), part(0)});
      }
      previous = &part;
      const std::vector<Join> inner =
          changed_joins(part, [start](Join& join) { join.t += start; });
      joins.insert(joins.end(), inner.begin(), inner.end());
    }
    return joins;
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
  std::vector<Join> joins() const override {
    std::vector<Join> joins;
    for (const Schedule& part : parts_) {
      for (Join join : part.node().joins()) {
        for (const Schedule& other : parts_) {
          const double factor = &other == &part ? 1 : other(join.t);
          join.before *= factor;
          join.after *= factor;
        }
        joins.push_back(join);
      }
    }
    return joins;
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
  std::vector<Join> joins() const override {
    return changed_joins(inner_, [this](Join& join) {
      join.before = std::clamp(join.before, low_, high_);
      join.after = std::clamp(join.after, low_, high_);
    });
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
                      static_cast<double>(count), inner_.length(), stretch)) {}

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
  std::vector<Join> joins() const override { return inner_.node().joins(); }
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
  std::vector<Join> joins() const override {
    return changed_joins(inner_, [this](Join& join) {
      join.t = rescale(join.t, inner_.length(), length_);
    });
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
    // t - delay may round to less than the curve's length.
    return inner_(t >= length() ? inner_.length() : std::max(0.0, t - delay_));
  }
  double length() const override {
    return std::max(0.0, inner_.length() + delay_);
  }
  std::string text() const override {
    return parenthesized(inner_, Binding::kAtom) + " shift " +
           format_number(delay_);
  }
  // What a negative delay moves before 0 is not played.
  std::vector<Join> joins() const override {
    return changed_joins(inner_, [this](Join& join) { join.t += delay_; });
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

// Nodes of the same kind among the parts give way to their own parts.
template <typename Node>
Schedule flattened(const std::vector<Schedule>& parts) {
  if (parts.size() == 1) {
    return parts.front();
  }
  std::vector<Schedule> flat;
  for (const Schedule& part : parts) {
    append_parts<Node>(part, flat);
  }
  return make_schedule<Node>(std::move(flat));
}

}  // namespace

Schedule join(const std::vector<Schedule>& parts) {
  double start = 0;
  for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
    check_finite(parts[i], "then");
    start += parts[i].length();
  }
  check(
      std::isfinite(start),
      "then",
      "the lengths must have a finite sum",
      start);
  return flattened<Sequence>(parts);
}

Schedule multiply(const std::vector<Schedule>& parts) {
  return flattened<Product>(parts);
}

}  // namespace detail

Schedule Schedule::then(const Schedule& next) const {
  return detail::join({*this, next});
}

Schedule Schedule::times(const Schedule& other) const {
  return detail::multiply({*this, other});
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
