#pragma once

#include <stepsize/optim/growth_trend.h>
#include <stepsize/optim/rollback_options.h>

#include <cstdint>
#include <limits>

namespace stepsize {

/// How a step ended.
enum class RollbackStatus : std::uint8_t {
  kAccepted,    ///< an update from the present point
  kRolledBack,  ///< back to the earlier point, and on with a smaller rate
  kGaveUp,      ///< too many rollbacks in a row: this point is taken as it is
  kNonFinite,   ///< NaN or Inf that is not the step's fault: no update
  kSuspect,     ///< undecided: wants confirm()
};

/// Decides, from the norms of the gradients alone, when the steps that led to
/// the present point are taken back. It knows nothing of tensors: RollbackSGD
/// and GradientNormRollback do what it says.
///
/// It remembers one earlier point: the one of the smallest norm since it was
/// last moved up, at most `window` updates old. With norm n here and n0 there,
/// the growth is n / n0, and the steps between are suspect where
///
///   n is not finite, or n > ratio n0 and
///   log(n / n0) > mean + z_score * deviation       (of log(n / n0) itself)
///
/// (The growth and not the norm is compared with its past: the norm of a run
/// that converges falls, and its deviation would hide nearly any growth.) Where
/// the loss can be evaluated at the earlier point on the same mini-batch, this
/// decides; else suspicion does. There is a rollback where
///
///   loss here - loss there > mean of the mini-batches' losses
///
/// on this one mini-batch: noise moves the loss by less in so few updates, and
/// a network that saturates shows here though its gradient does not grow. Where
/// the losses are equal, not positive or not known, n > ratio n0 decides. While
/// the mean loss is `ratio` times what it was at the earlier point, that point
/// does not move up, for ten windows at most, and there is a look back once a
/// window: damage must not become what is usual.
///
/// Growth too slow for that shows in a GrowthTrend, sooner or later at every
/// speed. The step after is looked into, and here it is enough that the loss on
/// this mini-batch has risen at all since the earlier point: the trend has
/// found the growth, this only asks whether it goes on. The point that is gone
/// back to is as near as ever. A lower rate finds its way down from there.
///
/// A rollback multiplies the rate's scale by `factor`; after `recovery_steps`
/// good steps it is divided again, up to 1. Where a recovery is followed by a
/// rollback before the next is due, or by slow growth at any time, that wait is
/// doubled from then on: the rate has found its place.
///
/// With a closure, the step after a suspicion that was not confirmed is looked
/// into whatever the gate says: a mini-batch with a gradient far too long looks
/// sound, and only the update that it makes does not.
///
/// Without one, growth must be suspect in `patience` steps in a row, and a rate
/// far too large on a network that saturates, whose gradient does not grow
/// then, is not seen reliably: give a closure where there is one.
///
/// Not for where the norm of the gradient should grow while the loss rises, as
/// in the play of two networks against each other.
///
/// Prior art: the restarts of PaLM (Chowdhery et al. 2022, section 5.1), dlib's
/// trainer, which goes back when the loss rises, and SPALeRA (Schoenauer-Sebag,
/// Schoenauer, Sebag, Stochastic Gradient Descent: Going As Fast As Possible
/// But Not Faster, 2017), which halves rates on a statistical alarm.
class RollbackRule {
 public:
  /// All that changes from step to step.
  struct State {
    double scale = 1;  ///< what rates are multiplied by
    bool has_point = false;
    double point_norm = 0;
    int64_t age = 0;  ///< updates since the earlier point
    int64_t samples = 0;
    double mean = 0;
    double variance = 0;
    int64_t unchecked = 0;   ///< steps since a suspicion
    bool watch = false;      ///< the step before was out of line
    int64_t suspicions = 0;  ///< in a row, with nothing to confirm them
    int64_t in_a_row = 0;
    int64_t good_steps = 0;
    bool recovered = false;  ///< the scale's last change was upwards
    int64_t failed = 0;      ///< recoveries that were taken back
    double mean_loss = 0;    ///< of mini-batches, where they can be compared
    int64_t losses = 0;      ///< that it was built from
    double point_loss = 0;   ///< that mean at the earlier point
    GrowthTrend trend;       ///< since the last rollback
    int64_t trend_span = 0;  ///< steps in which it grew; 0: it does not
    double last_norm = std::numeric_limits<double>::quiet_NaN();
    RollbackStatus last_status = RollbackStatus::kAccepted;
    int64_t rollbacks = 0;
    int64_t checks = 0;
    int64_t gave_up = 0;
    int64_t non_finite = 0;
  };

  /// Throws c10::Error where an option is out of range.
  explicit RollbackRule(const RollbackOptions& options = {});

  /// Takes in the norm at the present point. kSuspect, which only comes where
  /// `can_confirm`, changes nothing but last_norm() until confirm() is called.
  /// `loss`: on this mini-batch, NaN where it is not known.
  RollbackStatus observe(
      double norm,
      bool can_confirm,
      double loss = std::numeric_limits<double>::quiet_NaN());

  /// Resolves kSuspect: the norm at the earlier point on the same mini-batch,
  /// and whether the loss there is no larger than here.
  RollbackStatus confirm(double earlier_norm, bool loss_rose);

  /// The same with the loss at the earlier point on this mini-batch. What
  /// rounding explains is no difference: at an optimum the gradient decides.
  RollbackStatus confirm_by_loss(double earlier_norm, double earlier_loss);

  /// True where the last step made its point the earlier one of the next.
  bool keeps_point() const { return keeps_point_; }

  /// Forgets the earlier point: for parameters that were changed from outside.
  void forget_point();

  /// What every rate is multiplied by, in [floor, 1].
  double rate_scale() const { return state_.scale; }
  double last_grad_norm() const { return state_.last_norm; }
  RollbackStatus last_status() const { return state_.last_status; }
  int64_t rollbacks() const { return state_.rollbacks; }
  /// Evaluations at the earlier point.
  int64_t checks() const { return state_.checks; }
  int64_t gave_up() const { return state_.gave_up; }
  /// Steps that ended as kNonFinite.
  int64_t non_finite() const { return state_.non_finite; }

  const RollbackOptions& options() const { return options_; }
  /// Throws c10::Error where one is out of range.
  void set_options(const RollbackOptions& options);
  const State& state() const { return state_; }
  /// Throws c10::Error where a number cannot be.
  void set_state(const State& state);

 private:
  enum class Growth { kUsual, kHidden, kOutOfLine };
  Growth growth_of(double norm, bool can_confirm) const;
  bool holds_point() const;
  int64_t recovery_wait() const;
  RollbackStatus settle(double earlier_norm, bool risen);
  void accept(double norm);
  void move_point(double norm);
  RollbackStatus fall_back(double earlier_norm);
  void learn(double growth);
  void learn_loss();
  void forget_trend();

  RollbackOptions options_;
  State state_;
  bool keeps_point_ = false;
  bool out_of_line_ = false;
  double loss_ = std::numeric_limits<double>::quiet_NaN();
  // The same where nothing can be confirmed, too.
  double trend_loss_ = std::numeric_limits<double>::quiet_NaN();
};

}  // namespace stepsize
