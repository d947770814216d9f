#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "csrc/tune/search_record.h"

namespace stepsize::detail {

/// What is known of a search's trials: the sum of its records.
class SearchState {
 public:
  struct Repeat {
    std::vector<std::pair<int64_t, double>> reports;  ///< steps increase
    std::string status;                               ///< empty: not ended
    double loss = 0;
    int64_t steps = 0;
  };
  struct Trial {
    std::vector<double> values;
    std::vector<Repeat> repeats;

    /// Whether nothing is left to do: all repeats have finished, or one has
    /// been stopped or diverged.
    bool is_done() const;
    /// "finished", "stopped", "diverged"; "" before it is done.
    std::string status() const;
    /// Mean over the repeats that have finished, and the variance of one; NaN
    /// where there are none, or not two.
    double mean_loss() const;
    double loss_variance() const;
    int64_t finished_repeats() const;
    int64_t steps() const;
  };

  SearchState(std::size_t numbers, int64_t repeats)
      : numbers_(numbers), repeats_(repeats) {}

  /// Takes a record in. What does not fit is left out, and false returned: a
  /// trial without its start, a report behind its end, a number too many.
  bool apply(const SearchRecord& record);

  const std::vector<Trial>& trials() const { return trials_; }
  /// The most steps of a repeat that has finished; 0 where none has reported.
  int64_t longest() const { return longest_; }

  /// Whether a trial that reports a loss goes on: unless the report is the
  /// first at or beyond a rung, three others have been there, and the loss is
  /// not among the best 1 / factor of all there (Jamieson, Talwalkar 2016; Li
  /// et al., A system for massively parallel hyperparameter tuning, 2020). The
  /// rungs are the longest run over factor and over factor^2.
  bool goes_on(
      int64_t trial,
      int64_t repeat,
      int64_t step,
      double loss,
      double factor) const;

  /// What a trial that was stopped may be taken for: its last loss, or the
  /// worst of those that have finished and were better at that step.
  double stopped_loss(int64_t trial) const;

 private:
  std::size_t numbers_;
  int64_t repeats_;
  int64_t longest_ = 0;
  std::vector<Trial> trials_;
};

}  // namespace stepsize::detail
