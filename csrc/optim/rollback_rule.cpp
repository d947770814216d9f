#include <stepsize/optim/rollback_rule.h>

#include <algorithm>
#include <cmath>

#include "csrc/optim/rollback_options.h"

namespace stepsize {
namespace {

constexpr char kRollbackRule[] = "RollbackRule";

// A loss counts at most so many times the mean of those before it.
constexpr double kMostLoss = 10;
// One so many times the mean is far above it.
constexpr double kFarAbove = 2;
// The earlier point is held for so many windows at most.
constexpr int64_t kLongestHold = 10;

// log(norm / earlier) of two norms > 0, whose ratio may be no number.
double log_growth(double norm, double earlier) {
  return std::log(norm) - std::log(earlier);
}

}  // namespace

RollbackRule::RollbackRule(const RollbackOptions& options) {
  set_options(options);
}

void RollbackRule::set_options(const RollbackOptions& options) {
  RollbackOptions::option_list().check(options, kRollbackRule);
  options_ = options;
}

void RollbackRule::set_state(const State& state) {
  detail::rollback_state_list().check(state);
  state_ = state;
  keeps_point_ = false;
}

void RollbackRule::forget_point() {
  state_.has_point = false;
  state_.age = 0;
  state_.in_a_row = 0;
  state_.watch = false;
  state_.suspicions = 0;
  forget_trend();
  keeps_point_ = false;
}

void RollbackRule::forget_trend() {
  state_.trend.clear();
  state_.trend_span = 0;
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

RollbackStatus RollbackRule::observe(
    double norm, bool can_confirm, double loss) {
  keeps_point_ = false;
  loss_ = can_confirm ? loss : std::numeric_limits<double>::quiet_NaN();
  trend_loss_ = loss;
  state_.last_norm = norm;
  const Growth growth = growth_of(norm, can_confirm);
  out_of_line_ = growth == Growth::kOutOfLine;
  const bool look_into =
      can_confirm && growth == Growth::kHidden &&
      (state_.watch || state_.unchecked >= options_.gate_steps());
  const bool look_at_loss = state_.has_point && holds_point() &&
                            state_.unchecked >= options_.window();
  const bool grows_slowly = state_.has_point && state_.trend_span > 0;
  if (!out_of_line_ && !look_into && !look_at_loss && !grows_slowly) {
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
  if (std::isfinite(norm) && !grows_slowly &&
      ++state_.suspicions < options_.patience()) {
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
  const double ratio = state_.trend_span > 0 ? 1 : options_.ratio();
  return settle(
      earlier_norm, loss_rose && state_.last_norm > ratio * earlier_norm);
}

RollbackStatus RollbackRule::confirm_by_loss(
    double earlier_norm, double earlier_loss) {
  if (!std::isfinite(loss_) || !std::isfinite(earlier_loss)) {
    return confirm(earlier_norm, true);
  }
  constexpr double kRounding = 8 * std::numeric_limits<float>::epsilon();
  const double rise = loss_ - earlier_loss;
  const double level = kRounding * std::abs(earlier_loss);
  if (std::abs(rise) <= level || state_.mean_loss <= 0) {
    return confirm(earlier_norm, rise >= -level);
  }
  return settle(
      earlier_norm, rise > (state_.trend_span > 0 ? 0 : state_.mean_loss));
}

RollbackStatus RollbackRule::settle(double earlier_norm, bool risen) {
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
  if (earlier_finite && risen) {
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
      state_.good_steps >= recovery_wait()) {
    state_.scale = std::min(1.0, state_.scale / options_.factor());
    state_.good_steps = 0;
    state_.recovered = true;
  }
  learn_loss();
  state_.trend_span = state_.trend.add(
      norm,
      trend_loss_,
      options_.slow_ratio(),
      options_.slow_ratio() * options_.early_ratio());
  ++state_.age;
  state_.last_status = RollbackStatus::kAccepted;
}

// `norm`: the one by which later points are compared with this one.
void RollbackRule::move_point(double norm) {
  if (!state_.has_point || state_.point_norm == 0 ||
      (!holds_point() &&
       (norm <= state_.point_norm || state_.age >= options_.window()))) {
    keeps_point_ = true;
    state_.has_point = true;
    state_.point_loss = state_.mean_loss;
    state_.point_norm = norm;
    state_.age = 0;
  }
}

bool RollbackRule::holds_point() const {
  return state_.point_loss > 0 && std::isfinite(loss_) &&
         state_.age / kLongestHold < options_.window() &&
         state_.mean_loss > options_.ratio() * state_.point_loss;
}

int64_t RollbackRule::recovery_wait() const {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  const int64_t times = int64_t{1} << state_.failed;
  return options_.recovery_steps() > kMost / times
             ? kMost
             : options_.recovery_steps() * times;
}

RollbackStatus RollbackRule::fall_back(double earlier_norm) {
  const int64_t span = state_.trend_span;
  if (state_.recovered && (span > 0 || state_.good_steps < recovery_wait())) {
    state_.failed = std::min(state_.failed + 1, detail::kMostFailedRecoveries);
  }
  // Else the rate would be too large for most of the time.
  while (options_.recovery_steps() > 0 && recovery_wait() < span &&
         state_.failed < detail::kMostFailedRecoveries) {
    ++state_.failed;
  }
  forget_trend();
  state_.recovered = false;
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
      state_.point_loss = state_.mean_loss;
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

void RollbackRule::learn_loss() {
  if (!std::isfinite(loss_)) return;
  const double most =
      state_.mean_loss > 0 ? kMostLoss * state_.mean_loss : std::abs(loss_);
  ++state_.losses;
  // A loss far above the mean is what the mean is to tell of: not even the
  // first ones may make it usual.
  const double slow = 1 - options_.gate_decay();
  const bool far_above =
      state_.losses > 1 && loss_ > kFarAbove * state_.mean_loss;
  const double weight =
      far_above ? slow : std::max(slow, 1 / static_cast<double>(state_.losses));
  state_.mean_loss += weight * (std::min(loss_, most) - state_.mean_loss);
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
