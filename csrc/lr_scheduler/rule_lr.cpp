#include <stepsize/lr_scheduler/rule_lr.h>

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "csrc/lr_scheduler/group_writes.h"
#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rule_plan.h"
#include "csrc/lr_scheduler/time_map.h"
#include "csrc/lr_scheduler/usage_watch.h"
#include "csrc/text/number.h"

namespace stepsize {

RuleLR::RuleLR(torch::optim::Optimizer& optimizer, LRRule rule)
    : RuleLR(optimizer, std::move(rule), BaseRate::kAtConstruction) {}

RuleLR::RuleLR(
    torch::optim::Optimizer& optimizer, LRRule rule, BaseRate base_rate)
    : StatefulLR(optimizer, rule.options()),
      rule_(std::move(rule)),
      base_rate_(base_rate),
      bound_groups_(static_cast<int64_t>(optimizer.param_groups().size())) {
  rule_.check_group_count(bound_groups_);
  Plan first = plan(0, Purpose::kJump);
  watch_ = std::make_unique<detail::UsageWatch>(optimizer, kind(), base_lrs_);
  if (base_rate_ == BaseRate::kAtConstruction) {
    watch_->before_base_rates(first.base_lrs);
  }
  take_over(0, std::move(first));
}

RuleLR::~RuleLR() = default;

bool RuleLR::has_ended() const {
  const bool rebases = base_rate_ == BaseRate::kAtFirstStep && !started_;
  return !rebases && rule_time(last_epoch()) >= end();
}

void RuleLR::check_groups_kept() const {
  const std::size_t groups = optimizer().param_groups().size();
  TORCH_CHECK(
      groups >= base_lrs_.size(),
      kind(),
      ": the optimizer must keep its ",
      std::to_string(base_lrs_.size()),
      " parameter groups, got ",
      std::to_string(groups));
}

double RuleLR::momentum_of(
    const MomentumAccess& access, std::size_t group) const {
  const auto momentum = access.get(optimizer().param_groups()[group].options());
  TORCH_CHECK(
      momentum.has_value(),
      kind(),
      ": cycle_momentum needs a momentum, and the options of parameter group ",
      std::to_string(group),
      " are of a type that has none known; set cycle_momentum(false), or say "
      "where it is with momentum_access(MomentumAccess::of<...>())");
  return *momentum;
}

RuleLR::Plan RuleLR::plan(int64_t t, Purpose purpose) const {
  return plan(t, purpose, base_lrs_, lrs_in_force());
}

RuleLR::Plan RuleLR::plan(
    int64_t t,
    Purpose purpose,
    const std::vector<double>& base_lrs,
    const std::vector<double>& in_force) const {
  check_groups_kept();
  const bool rebase = base_rate_ == BaseRate::kAtFirstStep && !started_;
  const std::size_t left_alone =
      purpose == Purpose::kStep && has_ended() ? base_lrs_.size() : 0;
  const MomentumAccess* access = rule_.momentum_access();
  const double u = rule_time(t);
  const auto check = [&](bool holds,
                         const char* what,
                         const char* range,
                         std::size_t i,
                         double value) {
    TORCH_CHECK(
        holds,
        kind(),
        ": the ",
        what,
        " of parameter group ",
        std::to_string(i),
        " at t = ",
        std::to_string(t),
        " must be ",
        range,
        ", got ",
        detail::number_text(value));
  };

  Plan plan;
  if (!rebase) plan.base_lrs = base_lrs;
  plan.base_momenta = base_momenta_;
  for (std::size_t i = 0; i < in_force.size(); ++i) {
    if (i >= plan.base_lrs.size()) plan.base_lrs.push_back(in_force[i]);
    if (access != nullptr && i >= plan.base_momenta.size()) {
      plan.base_momenta.push_back(momentum_of(*access, i));
    }
    plan.lrs.push_back(in_force[i]);
    plan.momenta.emplace_back();
    if (i < left_alone) continue;
    LRGroup group;
    group.index = static_cast<int64_t>(i);
    group.base_lr = plan.base_lrs[i];
    group.joined_later = group.index >= bound_groups_;
    group.looking_ahead = purpose == Purpose::kLook;
    const GroupRate rate = rate_at(group, u);
    const bool is_rate = std::isfinite(rate.lr) && rate.lr >= 0;
    check(is_rate, "rate", "finite and >= 0", i, rate.lr);
    plan.lrs[i] = rate.lr;
    if (access == nullptr) continue;
    const double momentum = rate.momentum.value_or(plan.base_momenta[i]);
    const bool is_momentum = !rate.momentum || (momentum >= 0 && momentum < 1);
    check(is_momentum, "momentum", "in [0, 1)", i, momentum);
    plan.momenta[i] = momentum;
  }
  return plan;
}

void RuleLR::take_over(int64_t t, Plan plan) {
  detail::GroupWrites writes(optimizer());
  for (std::size_t i = 0; i < plan.momenta.size(); ++i) {
    if (!plan.momenta[i]) continue;
    writes.set_momentum(*rule_.momentum_access(), i, *plan.momenta[i]);
  }
  writes.set_lrs(plan.lrs);
  writes.keep();
  started_ = started_ || t > 0;
  base_lrs_ = std::move(plan.base_lrs);
  base_momenta_ = std::move(plan.base_momenta);
  commit(t, std::move(plan.lrs));
  watch_->set(get_last_lr(), lrs_in_force(), has_ended());
}

void RuleLR::set_base_lrs(const PerGroup& base_lrs) {
  const std::vector<double> lrs = checked_base_lrs(base_lrs);
  TORCH_CHECK(
      rule_.uses_base_lr(),
      kind(),
      ": set_base_lrs: its rates are options, and no base rate has a say in "
      "them: make another one of the rates that you want, which takes over "
      "with "
      "load(archive, OptionsFrom::kProgram): ",
      describe());
  // Before the first step some take the rates in force for their base.
  take_over(last_epoch(), plan(last_epoch(), Purpose::kJump, lrs, lrs));
}

std::function<void()> RuleLR::keep_place() {
  std::vector<double> momenta;
  if (const MomentumAccess* access = rule_.momentum_access()) {
    for (std::size_t i = 0; i < optimizer().param_groups().size(); ++i) {
      momenta.push_back(momentum_of(*access, i));
    }
  }
  return [this,
          momenta = std::move(momenta),
          in_force = lrs_in_force(),
          started = started_,
          base_lrs = base_lrs_,
          base_momenta = base_momenta_,
          epoch = last_epoch(),
          lrs = get_last_lr()] {
    std::exception_ptr refusal;
    try {
      detail::GroupWrites writes(optimizer());
      for (std::size_t i = 0; i < momenta.size(); ++i) {
        writes.set_momentum(*rule_.momentum_access(), i, momenta[i]);
      }
      writes.set_lrs(in_force);
      writes.keep();
    } catch (...) {
      refusal = std::current_exception();
    }
    // The clock goes back all the same: the next step then sets the rates of
    // the same time here as elsewhere.
    started_ = started;
    base_lrs_ = base_lrs;
    base_momenta_ = base_momenta;
    commit(epoch, lrs);
    watch_->set(lrs, lrs_in_force(), has_ended());
    if (refusal) std::rethrow_exception(refusal);
  };
}

std::vector<double> RuleLR::get_lrs() {
  if (follows_a_skipped_step()) return lrs_in_force();
  const int64_t t = next_epoch();
  Plan next = plan(t, Purpose::kStep);
  // Where the rates at the first step become the base, they are anyone's.
  const bool rebases = base_rate_ == BaseRate::kAtFirstStep && !started_;
  watch_->before_step(
      !has_ended(), rebases ? std::vector<double>() : lrs_in_force());
  take_over(t, std::move(next));
  return get_last_lr();
}

GroupRate RuleLR::rate_at(const LRGroup& group, double u) const {
  return rule_(group, u);
}

double RuleLR::rule_time(int64_t t) const {
  return detail::map_time(knots_, static_cast<double>(t));
}

std::vector<double> RuleLR::lr_at(int64_t t) const {
  detail::check_option(
      t >= 0 && t <= kLastTime, kind(), "t of lr_at", "in [0, 2^53]", t);
  return plan(t, Purpose::kLook).lrs;
}

void RuleLR::seek(int64_t t) {
  detail::check_option(
      t >= 0 && t <= kLastTime, kind(), "t of seek", "in [0, 2^53]", t);
  take_over(t, plan(t, Purpose::kJump));
  watch_->stop_counting();
}

void RuleLR::extend(int64_t new_length) {
  detail::check_option(
      new_length > last_epoch() && new_length <= kLastTime,
      kind(),
      "new_length of extend",
      "above the present step " + std::to_string(last_epoch()) +
          " and at most 2^53",
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

double extended_length(
    double length, int64_t step, int64_t run, int64_t new_run) {
  detail::check_option(step >= 0, "extended_length", "step", ">= 0", step);
  detail::check_option(
      new_run >= step,
      "extended_length",
      "new_run",
      "at least the present step " + std::to_string(step),
      new_run);
  const auto now = static_cast<double>(step);
  if (step >= run || now >= length || !std::isfinite(length)) {
    return length;
  }
  const double end = now + (length - now) / static_cast<double>(run - step) *
                               static_cast<double>(new_run - step);
  return std::max(now + 1, std::round(end));
}

}  // namespace stepsize
