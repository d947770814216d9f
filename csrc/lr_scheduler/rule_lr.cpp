#include <stepsize/lr_scheduler/rule_lr.h>

#include <c10/util/Exception.h>

#include <cmath>
#include <cstddef>
#include <utility>

#include "csrc/lr_scheduler/time_map.h"

namespace stepsize {
namespace {

constexpr int64_t kLastExactTime = int64_t{1} << 53;

}  // namespace

struct RuleLR::Plan {
  std::vector<double> base_lrs;
  std::vector<double> base_momenta;
  std::vector<double> lrs;
  std::vector<double> momenta;
};

RuleLR::RuleLR(torch::optim::Optimizer& optimizer, LRRule rule)
    : RuleLR(optimizer, std::move(rule), BaseRate::kAtConstruction) {}

RuleLR::RuleLR(
    torch::optim::Optimizer& optimizer, LRRule rule, BaseRate base_rate)
    : StatefulLR(optimizer, rule.kind(), rule.describe()),
      rule_(std::move(rule)),
      base_rate_(base_rate),
      bound_groups_(static_cast<int64_t>(optimizer.param_groups().size())) {
  rule_.check_group_count(bound_groups_);
  Plan start = plan(0);
  set_lrs(start.lrs);
  take_over(0, std::move(start));
}

RuleLR::Plan RuleLR::plan(int64_t t) const {
  Plan plan;
  const std::vector<double> in_force = lrs_in_force();
  TORCH_CHECK(
      in_force.size() >= base_lrs_.size(),
      kind(),
      ": the optimizer must keep its ",
      base_lrs_.size(),
      " parameter groups, got ",
      in_force.size());
  const bool rebase =
      base_rate_ == BaseRate::kAtFirstStep && !started_ && t > 0;
  if (!rebase) plan.base_lrs = base_lrs_;
  for (std::size_t i = plan.base_lrs.size(); i < in_force.size(); ++i) {
    plan.base_lrs.push_back(in_force[i]);
  }
  const MomentumAccess* access = rule_.momentum_access();
  if (access != nullptr) {
    plan.base_momenta = base_momenta_;
    const auto& groups = optimizer().param_groups();
    for (std::size_t i = base_momenta_.size(); i < groups.size(); ++i) {
      const auto momentum = access->get(groups[i].options());
      TORCH_CHECK(
          momentum.has_value(),
          kind(),
          ": cycle_momentum needs a momentum, and the options of parameter "
          "group ",
          i,
          " are of a type that has none known; set cycle_momentum(false), or "
          "say where it is with momentum_access(MomentumAccess::of<...>())");
      plan.base_momenta.push_back(*momentum);
    }
  }
  const double u = rule_time(t);
  for (std::size_t i = 0; i < plan.base_lrs.size(); ++i) {
    LRGroup group;
    group.index = static_cast<int64_t>(i);
    group.base_lr = plan.base_lrs[i];
    group.joined_later = group.index >= bound_groups_;
    const GroupRate rate = rate_at(group, u);
    plan.lrs.push_back(rate.lr);
    if (access != nullptr) {
      plan.momenta.push_back(rate.momentum.value_or(plan.base_momenta[i]));
    }
  }
  return plan;
}

void RuleLR::take_over(int64_t t, Plan plan) {
  const MomentumAccess* access = rule_.momentum_access();
  if (access != nullptr) {
    auto& groups = optimizer().param_groups();
    for (std::size_t i = 0; i < groups.size(); ++i) {
      access->set(groups[i].options(), plan.momenta[i]);
    }
  }
  started_ = started_ || t > 0;
  base_lrs_ = std::move(plan.base_lrs);
  base_momenta_ = std::move(plan.base_momenta);
  last_momenta_ = std::move(plan.momenta);
  commit(t, std::move(plan.lrs));
}

std::vector<double> RuleLR::get_lrs() {
  const int64_t t = last_epoch() + 1;
  take_over(t, plan(t));
  return get_last_lr();
}

GroupRate RuleLR::rate_at(const LRGroup& group, double u) const {
  return rule_(group, u);
}

double RuleLR::rule_time(int64_t t) const {
  return detail::map_time(knots_, static_cast<double>(t));
}

std::vector<double> RuleLR::lr_at(int64_t t) const {
  TORCH_CHECK(
      t >= 0 && t <= kLastExactTime,
      kind(),
      ": lr_at: t must be in [0, 2^53], got ",
      t);
  return plan(t).lrs;
}

void RuleLR::seek(int64_t t) {
  TORCH_CHECK(
      t >= 0 && t <= kLastExactTime,
      kind(),
      ": seek: t must be in [0, 2^53], got ",
      t);
  Plan there = plan(t);
  set_lrs(there.lrs);
  take_over(t, std::move(there));
}

void RuleLR::extend(int64_t new_length) {
  TORCH_CHECK(
      new_length > last_epoch() && new_length <= kLastExactTime,
      kind(),
      ": extend: new_length must be above the present step ",
      last_epoch(),
      " (and at most 2^53), got ",
      new_length);
  const double last = end();
  TORCH_CHECK(
      std::isfinite(last),
      kind(),
      ": extend: this schedule has no end to move: ",
      describe());
  if (rule_time(last_epoch()) >= last) return;
  pin_present();
  knots_.push_back({static_cast<double>(new_length), last});
}

void RuleLR::pin_present() {
  const Knot present{
      static_cast<double>(last_epoch()), rule_time(last_epoch())};
  while (!knots_.empty() && knots_.back().t >= present.t) knots_.pop_back();
  knots_.push_back(present);
}

void RuleLR::run_at_clock_pace() { pin_present(); }

}  // namespace stepsize
