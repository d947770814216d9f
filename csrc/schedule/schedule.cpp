#include <stepsize/schedule/schedule.h>

#include <stepsize/schedule/ramp.h>

#include "csrc/schedule/check.h"
#include "csrc/schedule/node.h"

#include <stdexcept>
#include <utility>

namespace stepsize {

Schedule::Schedule() : Schedule(constant()) {}

Schedule::Schedule(std::shared_ptr<const detail::ScheduleNode> node)
    : node_(std::move(node)) {
  if (!node_) {
    throw std::invalid_argument("Schedule: node must not be null");
  }
}

double Schedule::operator()(double t) const {
  if (!(t >= 0)) {
    detail::check(false, "Schedule", "t must be >= 0", t);
  }
  const double end = node_->length();
  return node_->value(t < end ? t : end);
}

double Schedule::length() const { return node_->length(); }

std::string Schedule::to_string() const { return node_->text(); }

bool operator==(const Schedule& a, const Schedule& b) {
  return a.node_ == b.node_ || (typeid(*a.node_) == typeid(*b.node_) &&
                                a.node_->equals(*b.node_));
}

}  // namespace stepsize
