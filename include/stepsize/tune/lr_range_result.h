#pragma once

#include <stepsize/report/line_plot.h>
#include <stepsize/report/svg.h>
#include <stepsize/report/terminal_plot.h>
#include <stepsize/tune/lr_suggestion.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace stepsize {

/// How a range test ended.
enum class LRRangeStatus : std::uint8_t {
  kFinished,   ///< all rates were tried
  kDiverged,   ///< the loss rose too far, or the optimizer took steps back
  kNonFinite,  ///< a loss was NaN or infinite, or the optimizer skipped a step
               ///< whose gradient was
  kStopped,    ///< the callback said so
  kNoDescent,  ///< all rates were tried, and none lowered the loss
};

/// The status in words: "finished", "diverged", "non-finite", "stopped by the
/// callback", "no descent".
const char* to_string(LRRangeStatus status);

/// What lr_range_test() found.
struct LRRangeTestResult {
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
  /// How it ended in a sentence, with numbers.
  std::string reason;

  /// What the curve says.
  LRSuggestions suggestions;
  /// What fastai would say of it: valley_lr(), steep_lr() and
  /// minimum_tenth_lr() of `averaged`, without its first tenth and its last
  /// five points.
  std::optional<double> valley;
  std::optional<double> steep;
  std::optional<double> minimum_tenth;
  /// The limit of stability at the start, where it was asked for.
  std::optional<double> max_stable_lr;

  /// The rate to train with, of the first group. Throws c10::Error, which says
  /// why and what to do, where there is none.
  double suggestion() const;
  /// The same, or nothing.
  std::optional<double> optional_suggestion() const;

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
