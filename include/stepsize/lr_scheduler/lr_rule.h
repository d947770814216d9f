#pragma once

#include <stepsize/lr_scheduler/momentum_access.h>
#include <stepsize/schedule/schedule.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace stepsize {
namespace detail {
class LRRuleNode;
class NamedOptions;
}  // namespace detail

/// A parameter group as a rule sees it.
struct LRGroup {
  /// Position in the optimizer's param_groups().
  int64_t index = 0;
  /// The rate that the group brought along.
  double base_lr = 0.0;
  /// Whether it was added after the scheduler had been made, so that no
  /// option speaks of it.
  bool joined_later = false;
  /// Whether the time asked for is not the one to be in force: a rule that
  /// remembers where it is, to save work, keeps its place.
  bool looking_ahead = false;
};

/// What a rule asks of a group at a time.
struct GroupRate {
  double lr = 0.0;
  /// Momentum (Adam's beta1), where the rule cycles it.
  std::optional<double> momentum;
};

/// What a scheduler does, as a value: a pure function from a parameter group
/// and a time to the group's rate.
///
/// Every XLROptions converts to a rule, and so does a Schedule (the rate is
/// base_lr times its factor). SequentialLR and ChainedScheduler are made of
/// rules, so that nothing touches an optimizer before all of it is valid:
///
///     SequentialLROptions(
///         {LinearLROptions().total_iters(5), ExponentialLROptions(0.9)}, {5})
///
/// Copies are cheap (they share an immutable tree) and may be used from
/// several threads at once, the user's callables permitting.
class LRRule {
 public:
  /// base_lr times the schedule's factor; the kind is "ScheduleLR".
  LRRule(const Schedule& schedule);  // NOLINT: implicit by design
  /// The same with a schedule a parameter group, or one for all; a group added
  /// later takes the last. Throws c10::Error where there is none.
  LRRule(const std::vector<Schedule>& schedules);  // NOLINT: implicit

  /// The rule that an options class stands for. Throws c10::Error, naming
  /// class, option and value, where an option is out of its range.
  template <
      typename Options,
      typename = std::enable_if_t<std::is_same_v<
          decltype(std::declval<const Options&>().rule()),
          LRRule>>>
  LRRule(const Options& options)  // NOLINT: implicit by design
      : LRRule(options.rule()) {}

  /// The group's rate (and momentum) at time t >= 0, which may be fractional.
  GroupRate operator()(const LRGroup& group, double t) const;

  /// Time from which nothing changes any more; infinity where there is none.
  double length() const;

  /// Name of the scheduler class: "CosineAnnealingLR".
  const std::string& kind() const;

  /// Kind and options, "CosineAnnealingLR(T_max=200, eta_min=1e-05)", numbers
  /// in their shortest exact form and callables as "callable". Saved states
  /// carry them by name, and are compared by them.
  const std::string& describe() const;

  /// Whether a group's base rate has a say in its rates: not where they are
  /// options, as of CyclicLR and OneCycleLR.
  bool uses_base_lr() const;

  /// How the momentum is reached, where the rule cycles it; of several rules
  /// in a composition the first serves all. Else a null pointer.
  const MomentumAccess* momentum_access() const;

  /// Throws c10::Error where a list of the options has another length.
  void check_group_count(int64_t groups) const;

  /// For the library's own use: describe() taken apart, and the rules that a
  /// composition has, else a null pointer.
  const detail::NamedOptions& options() const;
  const std::vector<LRRule>* parts() const;
  /// For the library's own nodes.
  explicit LRRule(std::shared_ptr<const detail::LRRuleNode> node);

 private:
  std::shared_ptr<const detail::LRRuleNode> node_;
};

}  // namespace stepsize
