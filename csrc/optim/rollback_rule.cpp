#include <stepsize/optim/rollback_rule.h>

#include <algorithm>
#include <cmath>

#include "csrc/core/check.h"
#include "csrc/optim/rollback_options.h"

namespace stepsize {
namespace {

constexpr char kKind[] = "RollbackRule";

// log(norm / earlier) of two norms > 0, whose ratio may be no number.
double log_growth(double norm, double earlier) {
  return std::log(norm) - std::log(earlier);
}

}  // namespace

RollbackRule::RollbackRule(const RollbackOptions& options) {
  set_options(options);
}

void RollbackRule::set_options(const RollbackOptions& options) {
  detail::check_rollback_options(kKind, options);
  options_ = options;
}

void RollbackRule::set_state(const State& state) {
  const auto check =
      [](bool holds, const char* name, const char* rule, double value) {
        detail::check_option(holds, kKind, name, rule, value);
      };
  check(state.scale > 0 && state.scale <= 1, "scale", "in (0, 1]", state.scale);
  check(
      std::isfinite(state.point_norm) && state.point_norm >= 0,
      "point_norm",
      "finite and >= 0",
      state.point_norm);
  check(std::isfinite(state.mean), "mean", "finite", state.mean);
  check(
      std::isfinite(state.variance) && state.variance >= 0,
      "variance",
      "finite and >= 0",
      state.variance);
  state_ = state;
  keeps_point_ = false;
}

void RollbackRule::forget_point() {
  state_.has_point = false;
  state_.age = 0;
  state_.in_a_row = 0;
  state_.watch = false;
  state_.suspicions = 0;
  keeps_point_ = false;
}

RollbackRule::Growth RollbackRule::growth_of(
    double norm, bool can_confirm) const {
  if (!std::isfinite(norm)) {
    return Growth::kOutOfLine;
  }
  if (!state_.has_point || state_.point_norm == 0 ||
      norm <= options_.ratio() * state_.point_norm) {
    return Growth::kUsual;
  }
  if (options_.z_score() == 0) {
    return Growth::kOutOfLine;
  }
  const double growth = log_growth(norm, state_.point_norm);
  if (state_.samples < options_.gate_steps()) {
    return can_confirm || growth > std::log(options_.early_ratio())
               ? Growth::kOutOfLine
               : Growth::kUsual;
  }
  return growth > state_.mean + options_.z_score() * std::sqrt(state_.variance)
             ? Growth::kOutOfLine
             : Growth::kHidden;
}

RollbackStatus RollbackRule::observe(double norm, bool can_confirm) {
  keeps_point_ = false;
  state_.last_norm = norm;
  const Growth growth = growth_of(norm, can_confirm);
  out_of_line_ = growth == Growth::kOutOfLine;
  const bool look_into =
      can_confirm && growth == Growth::kHidden &&
      (state_.watch || state_.unchecked >= options_.gate_steps());
  if (!out_of_line_ && !look_into) {
    ++state_.unchecked;
    state_.watch = false;
    state_.suspicions = 0;
    accept(norm);
    move_point(norm);
    return state_.last_status;
  }
  if (!state_.has_point) {
    ++state_.non_finite;
    return state_.last_status = RollbackStatus::kNonFinite;
  }
  if (can_confirm) {
    return RollbackStatus::kSuspect;
  }
  if (std::isfinite(norm) && ++state_.suspicions < options_.patience()) {
    // Neither this norm nor, perhaps, this point is one to compare with, and a
    // row of rollbacks does not end here.
    const int64_t in_a_row = state_.in_a_row;
    accept(norm);
    state_.in_a_row = in_a_row;
    return state_.last_status;
  }
  return fall_back(state_.point_norm);
}

RollbackStatus RollbackRule::confirm(double earlier_norm, bool loss_rose) {
  const double norm = state_.last_norm;
  const bool earlier_finite = std::isfinite(earlier_norm);
  ++state_.checks;
  state_.unchecked = 0;
  if (!std::isfinite(norm)) {
    if (earlier_finite) {
      return fall_back(earlier_norm);
    }
    ++state_.non_finite;
    return state_.last_status = RollbackStatus::kNonFinite;
  }
  if (earlier_finite && loss_rose && norm > options_.ratio() * earlier_norm) {
    return fall_back(earlier_norm);
  }
  state_.watch = out_of_line_;
  // How the two points compare on one mini-batch says more of this point than
  // a norm that is out of line.
  const bool comparable = earlier_finite && earlier_norm > 0;
  accept(norm);
  using Limits = std::numeric_limits<double>;
  move_point(
      comparable ? std::clamp(
                       std::exp(
                           std::log(state_.point_norm) +
                           log_growth(norm, earlier_norm)),
                       Limits::min(),
                       Limits::max())
                 : norm);
  return state_.last_status;
}

void RollbackRule::accept(double norm) {
  if (state_.has_point && state_.point_norm > 0 && norm > 0) {
    learn(log_growth(norm, state_.point_norm));
  }
  state_.in_a_row = 0;
  ++state_.good_steps;
  if (options_.recovery_steps() > 0 && state_.scale < 1 &&
      state_.good_steps >= options_.recovery_steps()) {
    state_.scale = std::min(1.0, state_.scale / options_.factor());
    state_.good_steps = 0;
  }
  ++state_.age;
  state_.last_status = RollbackStatus::kAccepted;
}

// `norm`: the one by which later points are compared with this one.
void RollbackRule::move_point(double norm) {
  if (!state_.has_point || state_.point_norm == 0 ||
      norm <= state_.point_norm || state_.age >= options_.window()) {
    keeps_point_ = true;
    state_.has_point = true;
    state_.point_norm = norm;
    state_.age = 0;
  }
}

RollbackStatus RollbackRule::fall_back(double earlier_norm) {
  state_.good_steps = 0;
  state_.watch = false;
  state_.suspicions = 0;
  state_.age = 0;
  if (state_.in_a_row >= options_.max_in_a_row()) {
    state_.in_a_row = 0;
    ++state_.gave_up;
    if (std::isfinite(state_.last_norm)) {
      keeps_point_ = true;
      state_.point_norm = state_.last_norm;
    }
    return state_.last_status = RollbackStatus::kGaveUp;
  }
  ++state_.in_a_row;
  ++state_.rollbacks;
  // With no floor it may not become 0, from which nothing recovers.
  const double least =
      std::max(options_.floor(), std::numeric_limits<double>::min());
  state_.scale =
      std::min(state_.scale, std::max(least, state_.scale * options_.factor()));
  state_.point_norm = earlier_norm;
  return state_.last_status = RollbackStatus::kRolledBack;
}

void RollbackRule::learn(double growth) {
  double difference = growth - state_.mean;
  if (state_.samples >= options_.gate_steps() && options_.z_score() > 0) {
    // One point out of line may not widen the gate for those that follow.
    const double most = std::max(
        options_.z_score() * std::sqrt(state_.variance),
        std::log(options_.ratio()));
    difference = std::clamp(difference, -most, most);
  }
  ++state_.samples;
  // The plain mean and variance until there are enough for decaying ones.
  const double weight = std::max(
      1 - options_.gate_decay(), 1 / static_cast<double>(state_.samples));
  state_.mean += weight * difference;
  state_.variance =
      (1 - weight) * (state_.variance + weight * difference * difference);
}

}  // namespace stepsize
