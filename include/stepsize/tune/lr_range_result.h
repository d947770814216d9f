#pragma once

#include <stepsize/report/line_plot.h>
#include <stepsize/report/svg.h>
#include <stepsize/report/terminal_plot.h>
#include <stepsize/schedule/schedule.h>
#include <stepsize/tune/lr_suggestion.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace torch::optim {
class Optimizer;
}  // namespace torch::optim

namespace stepsize {

/// How a range test ended.
enum class LRRangeStatus : std::uint8_t {
  kFinished,   ///< all rates were tried
  kDiverged,   ///< the loss rose too far, or the optimizer took steps back
  kNonFinite,  ///< a loss was NaN or infinite, or the optimizer skipped a step
               ///< whose gradient was
  kStopped,    ///< the callback said so
  kNoDescent,  ///< all rates were tried, and none lowered the loss, by more
               ///< than its noise
};

/// The status in words: "finished", "diverged", "non-finite", "stopped by the
/// callback", "no descent".
const char* to_string(LRRangeStatus status);

/// What lr_range_test() found.
struct LRRangeTestResult {
  /// Rates of the groups over the first one's, as they were tested.
  std::vector<double> group_ratios;
  /// Rates of the first group, one an iteration, and the losses seen there; the
  /// last loss may be NaN or infinite.
  std::vector<double> lrs;
  std::vector<double> losses;
  /// The moving average of the losses: what divergence is judged by.
  std::vector<double> averaged;
  /// The smooth curve of the suggestions, fit_lr_curve() of the losses, cut off
  /// somewhat above the start's height.
  std::vector<double> smoothed;

  LRRangeStatus status = LRRangeStatus::kFinished;
  /// How it ended, with numbers; where there is no suggestion, or none to
  /// trust, also why and what to do.
  std::string reason;
  /// The rates ended, or the callback ended them, within half_width points of
  /// where the smooth curve is lowest: a larger rate may do better, and
  /// all suggestions may be too low. Raise end_lr.
  bool still_falling = false;

  /// What the curve says.
  LRSuggestions suggestions;
  /// What fastai would say of it: valley_lr(), steep_lr() and
  /// minimum_tenth_lr() of `averaged`, without its first tenth and its last
  /// five points.
  std::optional<double> valley;
  std::optional<double> steep;
  std::optional<double> minimum_tenth;
  /// The limit of stability, where it was asked for: at the start, and where
  /// the mean of the last half_width losses was lowest. Where both are there,
  /// `suggested` and `peak` are at most the larger of them, for which momentum
  /// counts as MomentumLimit::kQuadratic has it.
  std::optional<double> max_stable_lr;
  std::optional<double> max_stable_lr_at_lowest;

  /// The rate to train with, of the first group: `suggestions.suggested`.
  /// Throws c10::Error, which says why and what to do, where there is none.
  double suggestion() const;
  /// The base rate for so many updates with a schedule, as
  /// LRSuggestions::for_schedule() says. Throws c10::Error as suggestion() and
  /// for_schedule() do.
  double suggestion(const Schedule& schedule, int64_t updates) const;
  /// Whether there is a rate to train with: else suggestion() and apply()
  /// throw.
  bool has_suggestion() const { return suggestions.suggested.has_value(); }
  /// Sets the rates of an optimizer: suggestion() for the first group, the
  /// others by group_ratios. Before a scheduler is made, which takes the rates
  /// that it finds for its base; one that is there already undoes them in its
  /// next step, and warns. Throws c10::Error, and changes nothing, where
  /// there is no suggestion or the optimizer has another number of groups.
  void apply(torch::optim::Optimizer& optimizer) const;
  /// The same with a rate of your choice, suggestion(schedule, updates) for
  /// one, which must be finite and > 0.
  void apply(torch::optim::Optimizer& optimizer, double lr) const;

  /// Loss over rate: raw points, smooth curve, marks at the suggestions.
  LinePlot plot(const std::string& title = "Learning rate range test") const;
  std::string to_terminal(const TerminalPlotOptions& options = {}) const;
  /// One row an iteration: iteration, lr, loss, averaged, smoothed.
  /// Throws std::runtime_error, naming path and reason, where it cannot be
  /// written; so do the next two.
  void write_csv(const std::string& path) const;
  void write_svg(const std::string& path, const SvgOptions& options = {}) const;
  void write_json(const std::string& path) const;
  /// All of it as one JSON object; what is not there or not finite is null.
  std::string to_json() const;
};

}  // namespace stepsize
