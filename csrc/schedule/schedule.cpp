#include <stepsize/schedule/schedule.h>

#include <stepsize/schedule/ramp.h>

#include "csrc/schedule/check.h"
#include "csrc/schedule/node.h"
#include "csrc/text/number.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

namespace stepsize {
namespace detail {

double factor_or_nan(const Schedule& schedule, double t) {
  try {
    return schedule(t);
  } catch (const std::domain_error&) {
    return kNaN;
  }
}

double ScheduleNode::floor() const {
  if (!(length() < kInfinity)) {
    return kNaN;
  }
  try {
    return value(length());
  } catch (const std::domain_error&) {
    return kNaN;
  }
}

}  // namespace detail

Schedule::Schedule() : Schedule(constant()) {}

Schedule::Schedule(std::shared_ptr<const detail::ScheduleNode> node)
    : node_(std::move(node)) {
  if (!node_) {
    throw std::invalid_argument("Schedule: node must not be null");
  }
  detail::check(
      node_->depth() <= detail::kMaxDepth,
      "Schedule",
      "combinators must stand at most 100 deep inside each other",
      node_->depth());
}

double Schedule::operator()(double t) const {
  if (!(t >= 0)) {
    detail::check(false, "Schedule", "t must be >= 0", t);
  }
  const double time = std::min(t, node_->length());
  if (std::isinf(time)) {
    detail::check(
        false, "Schedule", "t must be finite where there is no end", t);
  }
  const double factor = node_->value(time);
  if (!(factor <= std::numeric_limits<double>::max())) {
    throw std::domain_error(
        "Schedule: the factor at t = " + detail::number_text(t) +
        " is too large for a double: " + detail::number_text(factor));
  }
  return factor;
}

double Schedule::length() const { return node_->length(); }

std::string Schedule::to_string() const { return node_->text(); }

bool operator==(const Schedule& a, const Schedule& b) {
  const detail::ScheduleNode& left = *a.node_;
  const detail::ScheduleNode& right = *b.node_;
  return &left == &right ||
         (typeid(left) == typeid(right) && left.equals(right));
}

}  // namespace stepsize
