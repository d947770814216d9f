#pragma once

#include <stepsize/lr_scheduler/lr_rule.h>
#include <stepsize/lr_scheduler/per_group.h>
#include <stepsize/schedule/schedule.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "csrc/core/named_options.h"

namespace stepsize::detail {

/// An option a group and the name by which an error calls it.
struct NamedPerGroup {
  std::string name;
  PerGroup value;
};

/// What a group that no option speaks of makes of its own rate.
enum class JoinLater { kByTheOptions, kRateIsLow, kRateIsHigh };

/// Momentum against the rate: at_one * s + at_zero * (1 - s).
struct MomentumSpec {
  Schedule schedule;
  NamedPerGroup at_one;
  NamedPerGroup at_zero;
  MomentumAccess access;
};

/// lr = high * s + low * (1 - s) with s = schedule(t): exact where s is 0 or
/// 1. `high` is the group's base rate and `low` zero where not given.
struct AffineSpec {
  NamedOptions options;
  Schedule schedule;
  std::optional<NamedPerGroup> low = std::nullopt;
  std::optional<NamedPerGroup> high = std::nullopt;
  JoinLater join_later = JoinLater::kByTheOptions;
  std::optional<MomentumSpec> momentum = std::nullopt;
};
LRRule make_affine_rule(AffineSpec spec);

/// base times schedule(t), one schedule a group or one for all; the kind is
/// "ScheduleLR".
LRRule make_schedules_rule(const std::vector<Schedule>& schedules);

/// base times function(t), one function for all groups or one a group.
LRRule make_function_rule(
    NamedOptions options,
    std::vector<std::function<double(double)>> functions,
    bool is_list);

/// base times function(1) function(2) ... function(floor t).
LRRule make_product_rule(
    NamedOptions options,
    std::vector<std::function<double(double)>> functions,
    bool is_list);

/// rules[i] from milestones[i - 1] on, in its own time from 0.
LRRule make_sequential_rule(
    NamedOptions options,
    std::vector<LRRule> rules,
    std::vector<int64_t> milestones);

/// Each rule's rate is the base of the next.
LRRule make_chained_rule(NamedOptions options, std::vector<LRRule> rules);

/// The rule that such a list describes. What cannot stand in a list, callables
/// and how a momentum is reached, comes from the part of `present` at the same
/// place. Throws c10::Error where there is none, and for options that are none.
LRRule rule_of(const NamedOptions& options, const LRRule& present);

/// The options of each.
std::vector<NamedOptions> options_of(const std::vector<LRRule>& rules);

}  // namespace stepsize::detail
