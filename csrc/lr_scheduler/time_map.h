#pragma once

#include <stepsize/lr_scheduler/rule_lr.h>

#include <vector>

namespace stepsize::detail {

/// The time u that a map takes t to: t itself before the first knot, linear
/// from knot to knot, and at t's own pace after the last.
double map_time(const std::vector<RuleLR::Knot>& knots, double t);

/// Whether the knots are finite, t increases and u does not fall.
bool is_time_map(const std::vector<RuleLR::Knot>& knots);

}  // namespace stepsize::detail
