#include "csrc/schedule/check.h"
#include "csrc/schedule/node.h"
#include "csrc/schedule/ramp_node.h"
#include "csrc/text/number.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <tuple>

namespace stepsize {
namespace detail {
namespace {

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

// The parts of a Node of several, or the schedule itself: what makes
// a > (b > c) and (a > b) > c one and the same tree, and (a * b) * c what
// a * b * c is. a * (b * c) rounds differently and is another.
template <typename Node>
void append_parts(const Schedule& schedule, std::vector<Schedule>& parts) {
  if (const auto* node = node_as<Node>(schedule)) {
    parts.insert(parts.end(), node->parts().begin(), node->parts().end());
  } else {
    parts.push_back(schedule);
  }
}

class Sequence final : public KeyedNode<Sequence> {
 public:
  explicit Sequence(std::vector<Schedule> parts)
      : KeyedNode(depth_above(parts)), parts_(std::move(parts)) {
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
        joins.push_back(
            {start,
             factor_or_nan(*previous, previous->length()),
             factor_or_nan(part, 0)});
      }
      previous = &part;
      const std::vector<Join> inner =
          changed_joins(part, [start](Join& join) { join.t += start; });
      joins.insert(joins.end(), inner.begin(), inner.end());
    }
    return joins;
  }
  double floor() const override { return parts_.back().node().floor(); }
  std::shared_ptr<const ScheduleNode> calm() const override {
    return std::make_shared<const Sequence>(detail::calm(parts_));
  }

  const std::vector<Schedule>& parts() const { return parts_; }
  const auto& key() const { return parts_; }

 private:
  std::vector<Schedule> parts_;
  std::vector<double> starts_;
  double length_ = 0;
};

// The product of a, b and c is (a b) c, to the bit. A factor that has no part
// in where a product ends goes on no longer than the product of it and those
// before: what (a b) holds, (a b) c holds.
class Product final : public KeyedNode<Product> {
 public:
  explicit Product(std::vector<Schedule> parts)
      : KeyedNode(depth_above(parts)), parts_(std::move(parts)) {
    for (const Schedule& part : parts_) {
      if (part.node().extends_product()) {
        length_ = extends_ ? std::max(length_, part.length()) : part.length();
        extends_ = true;
      }
      ends_.push_back(length_);
    }
    for (std::size_t i = ends_.size() - 1; i > 0; --i) {
      ends_[i - 1] = std::min(ends_[i - 1], ends_[i]);
    }
  }

  double value(double t) const override {
    double product = 1;
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      product *= parts_[i](std::min(t, ends_[i]));
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
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      for (Join join : parts_[i].node().joins()) {
        for (std::size_t j = 0; j < parts_.size(); ++j) {
          const double factor =
              i == j ? 1 : factor_or_nan(parts_[j], std::min(join.t, ends_[j]));
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
  bool extends_product() const override { return extends_; }
  std::shared_ptr<const ScheduleNode> calm() const override {
    return std::make_shared<const Product>(detail::calm(parts_));
  }

  const std::vector<Schedule>& parts() const { return parts_; }
  const auto& key() const { return parts_; }

 private:
  std::vector<Schedule> parts_;
  std::vector<double> ends_;  // the time from which each part is held
  double length_ = kInfinity;
  bool extends_ = false;
};

class Clamp final : public KeyedNode<Clamp> {
 public:
  Clamp(const Schedule& inner, double low, double high)
      : KeyedNode(depth_above({inner})),
        inner_(inner),
        low_(low),
        high_(high) {}

  double value(double t) const override {
    return std::clamp(inner_(t), low_, high_);
  }
  double length() const override { return inner_.length(); }
  std::string text() const override {
    return parenthesized(inner_, Binding::kAtom) + " clamp " +
           number_text(low_) + " " + number_text(high_);
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
  std::shared_ptr<const ScheduleNode> calm() const override {
    return std::make_shared<const Clamp>(detail::calm(inner_), low_, high_);
  }
  auto key() const { return std::tie(inner_, low_, high_); }

 private:
  Schedule inner_;
  double low_;
  double high_;
};

}  // namespace

Schedule calm(const Schedule& schedule) {
  std::shared_ptr<const ScheduleNode> node = schedule.node().calm();
  return node ? Schedule(std::move(node)) : schedule;
}

std::vector<Schedule> calm(const std::vector<Schedule>& parts) {
  std::vector<Schedule> result;
  result.reserve(parts.size());
  for (const Schedule& part : parts) {
    result.push_back(calm(part));
  }
  return result;
}

int depth_above(const std::vector<Schedule>& parts) {
  int deepest = 0;
  for (const Schedule& part : parts) {
    deepest = std::max(deepest, part.node().depth());
  }
  return deepest + 1;
}

std::string parenthesized(const Schedule& schedule, Binding tightest) {
  const std::string text = schedule.to_string();
  return schedule.node().binding() < tightest ? "(" + text + ")" : text;
}

void check_finite(const Schedule& schedule, const char* who) {
  if (!(schedule.length() < kInfinity)) {
    throw std::invalid_argument(
        std::string(who) + ": '" + schedule.to_string() +
        "' has no end; cut it with limit() first (`for` in text)");
  }
}

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
  if (parts.size() == 1) {
    return parts.front();
  }
  std::vector<Schedule> flat;
  for (const Schedule& part : parts) {
    append_parts<Sequence>(part, flat);
  }
  return make_schedule<Sequence>(std::move(flat));
}

Schedule multiply(const std::vector<Schedule>& parts) {
  if (parts.size() == 1) {
    return parts.front();
  }
  std::vector<Schedule> flat;
  append_parts<Product>(parts.front(), flat);
  flat.insert(flat.end(), parts.begin() + 1, parts.end());
  return make_schedule<Product>(std::move(flat));
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

}  // namespace stepsize
