#pragma once

#include <stepsize/report/line_plot.h>
#include <stepsize/report/svg.h>
#include <stepsize/report/terminal_plot.h>
#include <stepsize/tune/search_space.h>
#include <stepsize/tune/trial.h>

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

namespace stepsize {

/// How a trial ended.
enum class TrialStatus : std::uint8_t {
  kFinished,  ///< the closure returned a finite loss, in each repeat
  kStopped,   ///< the search stopped it: it was hopeless
  kDiverged,  ///< a loss was not finite, or TrialDiverged was thrown
};

/// "finished", "stopped", "diverged".
const char* to_string(TrialStatus status);

/// A trial that has ended.
struct SearchedTrial {
  int64_t number = 0;          ///< from 0, in the order of their starts
  std::vector<double> values;  ///< one a number of the space
  TrialStatus status = TrialStatus::kFinished;
  /// Mean over the repeats; of a trial that was stopped, the last one that it
  /// told; NaN of one that has diverged.
  double loss = 0;
  /// Standard error of the mean; NaN with less than two repeats.
  double loss_error = 0;
  /// The last step that was told, 0 where none was.
  int64_t steps = 0;
};

/// What lr_search() found.
struct LRSearchResult {
  SearchSpace space;
  /// Those that have ended, by number.
  std::vector<SearchedTrial> trials;
  /// The share of the variance of the loss, or of its logarithm where all are
  /// > 0, that each number explains alone, over its range and those of the
  /// others, by the model. What is left of 1 is due to numbers together. NaN
  /// where no trial has a finite loss.
  std::vector<double> importance;

  /// What the model says of the loss along one number, the others at their
  /// best, with a band that holds the mean loss with a probability of 95 %: a
  /// single run's noise comes on top. What is far above the best, or has
  /// diverged, counts as less there (docs/tuning.md): a guess beyond a cliff.
  struct Response {
    std::vector<double> values, losses, lows, highs;
  };
  /// One a number; none where no trial has a finite loss.
  std::vector<Response> responses;

  /// Lines of the journal that were none, and were left out.
  int64_t broken_lines = 0;

  /// Whether a trial has finished: else best() throws.
  bool has_best() const;
  /// The finished trial with the lowest loss. Throws c10::Error.
  const SearchedTrial& best() const;
  /// Its value of a number. Throws c10::Error where there is none.
  double best(const std::string& name) const;
  /// A trial with the best numbers, to train with them once more.
  Trial best_trial(int64_t seed = 0) const;

  /// Loss over one number: all trials, the response and its band, a mark at the
  /// best. Throws c10::Error where there is no such number.
  LinePlot plot(
      const std::string& name = "lr",
      const std::string& title = "Search for a learning rate") const;
  std::string to_terminal(const TerminalPlotOptions& options = {}) const;
  /// The trials with the lowest losses first, `rows` of them at most.
  std::string table(int64_t rows = 10) const;
  /// One row a trial: trial, status, loss, loss_error, steps, the numbers and,
  /// where there is one, the schedule. Throws std::runtime_error, naming path
  /// and reason, where it cannot be written; so does write_svg.
  void write_csv(const std::string& path) const;
  /// plot() of one number.
  void write_svg(
      const std::string& path,
      const std::string& name = "lr",
      const SvgOptions& options = {}) const;
};

/// The best numbers, what each number explains, and the table.
std::ostream& operator<<(std::ostream& out, const LRSearchResult& result);

}  // namespace stepsize
