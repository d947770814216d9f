#pragma once

#include <stepsize/lr_scheduler/lr_rule.h>
#include <stepsize/lr_scheduler/stateful_lr.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace stepsize {
namespace detail {
class UsageWatch;
}  // namespace detail

/// A scheduler that follows an LRRule; the base of all that are named by their
/// rule, CosineAnnealingLR and the like.
///
/// Its constructor applies the rates of t = 0, and n calls of step() (through
/// a pointer to the base too) those of t = n, which is Python's timeline.
/// Rates come from the groups' base rates and the clock, never from the rate
/// in force, so that an outside write of a rate has gone at the next step.
/// From the step after the one that reaches the rule's end on, step() leaves
/// rates and momenta alone, so that what another scheduler (a plateau after a
/// warm-up) or the user writes then stays. A group added to the optimizer
/// later joins at the next step, its own rate as its base.
///
/// Every rate must come out finite and >= 0 and every momentum in [0, 1), or
/// c10::Error names the group, the time and the value. Then, and where a
/// callable of the user's throws, nothing has changed. Mistakes in its use are
/// warned of: see UsageCheck.
class RuleLR : public StatefulLR {
 public:
  /// A point of the map from the clock t to the rule's time u.
  struct Knot {
    double t;
    double u;
  };

  /// Checks the rule against the optimizer, then applies t = 0. Throws
  /// c10::Error, the optimizer untouched, where a list of the rule has not
  /// one entry a group, or the rule cycles a momentum that the optimizer's
  /// options do not have.
  RuleLR(torch::optim::Optimizer& optimizer, LRRule rule);
  ~RuleLR() override;

  /// The rule's rates at time t >= 0; changes nothing.
  std::vector<double> lr_at(int64_t t) const;

  /// Jumps to time t in [0, 2^53] and applies the rule's rates, past its end
  /// too.
  void seek(int64_t t);

  /// From the present time on, squeezes or stretches what is left of the
  /// schedule so that it ends at new_length > last_epoch(). The rate goes on
  /// without a jump. A schedule that has ended already holds its last rate.
  /// Throws c10::Error where the schedule has no end.
  virtual void extend(int64_t new_length);

  void set_base_lrs(const PerGroup& base_lrs) override;

  std::function<void()> keep_options() override;

  /// The rate that each group brought along when it joined, or was given since.
  const std::vector<double>& base_lrs() const { return base_lrs_; }

  const LRRule& rule() const { return rule_; }

 protected:
  /// When a group's rate becomes its base.
  enum class BaseRate { kAtConstruction, kAtFirstStep };

  RuleLR(torch::optim::Optimizer& optimizer, LRRule rule, BaseRate base_rate);

  std::vector<double> get_lrs() override;
  const char* state_class() const override { return "RuleLR"; }
  void save_state(torch::serialize::OutputArchive& archive) const override;
  void load_state(
      torch::serialize::InputArchive& archive,
      const std::vector<double>& lrs) override;

  void load_state_only(
      torch::serialize::InputArchive& archive,
      const detail::NamedOptions& saved,
      int64_t epoch,
      const std::vector<double>& lrs) override;
  void take_options(const detail::NamedOptions& options) override;

  /// Takes away what bends the schedule besides extend(), a cooldown that was
  /// begun; returns what puts it back.
  virtual std::function<void()> straighten();

  /// The rule's answer at its own time u, for a subclass to bend.
  virtual GroupRate rate_at(const LRGroup& group, double u) const;
  /// The rule's time from which nothing changes.
  virtual double end() const { return rule_.length(); }

  /// The rule's time at clock t.
  double rule_time(int64_t t) const;
  /// From the present time on, lets the rule's time run at the clock's pace.
  void run_at_clock_pace();

 private:
  struct Plan;  // what a step to some time would set
  enum class Purpose { kStep, kJump, kLook };
  Plan plan(int64_t t, Purpose purpose) const;
  Plan plan(
      int64_t t,
      Purpose purpose,
      const std::vector<double>& base_lrs,
      const std::vector<double>& in_force) const;
  // Whether the next step leaves the rates alone.
  bool has_ended() const;
  // What puts clock, rates and momenta back as they are now. Where a setter of
  // the user's throws the rates stay, and the clock is back even so.
  std::function<void()> keep_place();
  friend class JointLR;
  void check_groups_kept() const;
  double momentum_of(const MomentumAccess& access, std::size_t group) const;
  void take_over(int64_t t, Plan plan);
  void pin_present();

  LRRule rule_;
  BaseRate base_rate_;
  bool started_ = false;      // the clock has left 0 once
  int64_t bound_groups_ = 0;  // those that the options speak of
  std::vector<double> base_lrs_;
  std::vector<double> base_momenta_;  // empty where none is cycled
  std::vector<Knot> knots_;
  std::unique_ptr<detail::UsageWatch> watch_;
};

/// What to extend() a schedule to where, at `step`, a run of `run` steps
/// becomes one of `new_run`: what is left of the schedule is drawn out as much
/// as what is left of the run, to a whole step, and one at the least. A
/// schedule that ends with the run still does. `length` where the schedule or
/// the run has ended by then, or the schedule never ends. Throws c10::Error
/// unless 0 <= step <= new_run.
double extended_length(
    double length, int64_t step, int64_t run, int64_t new_run);

}  // namespace stepsize
