#pragma once

#include <stepsize/lr_scheduler/plateau_phase.h>
#include <stepsize/lr_scheduler/stateful_lr.h>
#include <stepsize/schedule/parse.h>
#include <stepsize/schedule/schedule.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

namespace stepsize {
namespace detail {
class UsageWatch;
}  // namespace detail

/// One part of a PhasedLR: by time alone, or by a metric.
using LRPhase = std::variant<Schedule, PlateauPhase>;

/// Phases one after the other, of which some go by a metric, as a warm-up, a
/// plateau and a cooldown:
///
///     PhasedLR scheduler(optimizer, {warmup(500),
///         PlateauPhase(ReduceLROnPlateauOptions().factor(0.5)).steps(20000),
///         cooldown(2000)});
///     scheduler.step();             // once an update: the time
///     scheduler.observe(val_loss);  // after each validation: the metric
///
/// The rate is base_lr L f(u), with f the schedule of the phase at its own time
/// u, and 1 in a plateau. L is 1 at first; a plateau multiplies it by the f at
/// which the phase before ended, so that the rate has no jump there, then by
/// its cuts, down to min_lr. Later phases keep L: a cooldown falls from the
/// rate that the cuts have left, and does not raise it before. A phase of no
/// length is passed over.
///
/// Metrics count in plateaus alone, each of which begins with a new best one.
/// For the rest (outside writes, the end, groups added later) see RuleLR.
class PhasedLR : public StatefulLR {
 public:
  /// Throws c10::Error, the optimizer untouched, where there is no phase, one
  /// before the last has no end, a plateau follows a schedule that ends at 0,
  /// or its min_lr does not fit the groups.
  PhasedLR(torch::optim::Optimizer& optimizer, std::vector<LRPhase> phases);
  /// Of parse_phases(text, context).
  PhasedLR(
      torch::optim::Optimizer& optimizer,
      const std::string& text,
      const ParseContext& context = {});
  ~PhasedLR() override;

  /// Looks at a metric: in a plateau it may cut the rates or end the phase, at
  /// once; else it does nothing. The clock stays. A NaN improves nothing.
  /// Throws c10::Error, and changes nothing, as step() does.
  void observe(double metric);

  /// Ends the present phase now; a plateau that comes next begins at the rate
  /// of the present step. Throws c10::Error, and changes nothing, in the last
  /// phase and where that rate is 0, which no plateau can begin at.
  void next_phase();

  void set_base_lrs(const PerGroup& base_lrs) override;
  std::function<void()> keep_options() override;

  /// The rate that each group brought along, or was given since.
  const std::vector<double>& base_lrs() const { return base_lrs_; }
  const std::vector<LRPhase>& phases() const { return phases_; }
  /// Which phase it is in, from 0, and since which step.
  std::size_t phase() const { return progress_.starts.size() - 1; }
  int64_t phase_start() const { return progress_.starts.back(); }
  /// Whether the last phase is over, so that step() leaves the rates alone.
  bool has_ended() const;

  /// Of the present plateau: cuts, those that min_lr or eps have left without
  /// an effect too; best metric (infinite before the first); bad metrics in a
  /// row; metrics of cooldown left.
  int64_t cuts() const;
  double best() const { return progress_.best; }
  int64_t num_bad_epochs() const { return progress_.bad; }
  int64_t cooldown_counter() const { return progress_.cooldown; }

 protected:
  std::vector<double> get_lrs() override;
  const char* state_class() const override { return "PhasedLR"; }
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

 private:
  /// All that the rates depend on besides the base rates and the clock.
  struct Progress {
    std::vector<int64_t> starts = {0};    // the clock at each begun phase's
    std::vector<int64_t> plateaus = {0};  // found in each
    std::vector<int64_t> by_hand = {0};   // 1: next_phase() has ended it
    double best = 0;
    int64_t bad = 0;
    int64_t cooldown = 0;
  };
  struct Plan {
    std::vector<double> base_lrs;
    std::vector<double> levels;
    std::vector<double> lrs;
  };

  bool is_over(const Progress& progress, int64_t t) const;
  bool has_ended(const Progress& progress, int64_t t) const;
  void begin_phase(Progress& progress, int64_t t) const;
  void advance(Progress& progress, int64_t t) const;
  double level(
      const Progress& progress, std::size_t group, double base_lr) const;
  Plan plan(
      const Progress& progress,
      int64_t t,
      const std::vector<double>& base_lrs,
      const std::vector<double>& in_force,
      bool leaves_alone) const;
  void take_over(int64_t t, Progress progress, Plan plan);
  void change_now(Progress progress);
  Progress read_progress(
      torch::serialize::InputArchive& archive, std::size_t phases) const;
  std::vector<double> read_base_lrs(
      torch::serialize::InputArchive& archive, std::size_t groups) const;

  std::vector<LRPhase> phases_;
  Progress progress_;
  std::vector<double> base_lrs_;
  std::vector<double> levels_;  // base_lr L of each
  std::unique_ptr<detail::UsageWatch> watch_;
};

/// Phases of text, in which a plateau may stand between schedules:
///
///     warmup 500 > plateau 0.5 patience 3 for 20000 > cooldown 2000
///
/// After `plateau` come, in any order, its factor, `patience N`, `threshold
/// X`, `cooldown N`, `min_lr X`, `eps X`, the flags `max`, `abs` and
/// `python_rel`, and its end: `for DURATION` or `cuts N`, or both. The rest is
/// as parse() has it. A curve that takes what is left of the run cannot come
/// after a plateau with `cuts`, which a metric may end. Throws ParseError.
std::vector<LRPhase> parse_phases(
    const std::string& text, const ParseContext& context = {});

}  // namespace stepsize
