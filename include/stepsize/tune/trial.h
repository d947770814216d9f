#pragma once

#include <stepsize/schedule/schedule.h>
#include <stepsize/tune/search_space.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace stepsize {

/// To be thrown where a run can not go on as its numbers are no longer finite:
/// the trial has diverged, and the search goes on.
class TrialDiverged : public std::runtime_error {
 public:
  explicit TrialDiverged(const std::string& what = "the trial has diverged")
      : std::runtime_error(what) {}
};

/// The numbers to train with, and whom to tell how it goes.
///
///     double train(Trial& trial) {
///       ...
///       torch::optim::SGD sgd(
///           model->parameters(),
///           torch::optim::SGDOptions(trial.lr()).momentum(trial["momentum"]));
///       for (int64_t epoch = 1; epoch <= 10; ++epoch) {
///         train_epoch(sgd);
///         if (!trial.report(epoch, validation_loss())) break;
///       }
///       return validation_loss();
///     }
class Trial {
 public:
  using Report = std::function<bool(int64_t, double)>;

  /// A trial by itself, for one run more with numbers that were found:
  /// report() then returns false where a loss is not finite, and else true.
  /// Throws c10::Error where there is not one value a number.
  Trial(SearchSpace space, std::vector<double> values, int64_t seed = 0);

  /// The one of the number "lr".
  double lr() const { return (*this)["lr"]; }
  /// A number by its name. Throws c10::Error, naming those that there are.
  double operator[](const std::string& name) const;
  /// The schedule of the space with its numbers put in. Throws c10::Error where
  /// there is none.
  Schedule schedule() const { return space_.schedule(values_); }
  std::string schedule_text() const { return space_.schedule_text(values_); }

  /// Which trial of the search this is, from 0, and which of its repeats.
  int64_t number() const { return number_; }
  int64_t repeat() const { return repeat_; }
  /// A seed >= 0, another for each repeat and the same in all trials, so that
  /// they are compared on the same start and data. A search has called
  /// torch::manual_seed() with it; for a trial by itself call it.
  int64_t seed() const { return seed_; }

  /// Tells a loss after so many steps of any kind, the same kind in all trials.
  /// A copy that outlives its run is a trial by itself.
  /// Returns whether to go on: false where the loss is not finite, or where the
  /// search stops a trial that is hopeless; what the closure returns then
  /// counts for nothing. Throws c10::Error unless step >= 0 is beyond the last.
  bool report(int64_t step, double loss);

  const SearchSpace& space() const { return space_; }
  const std::vector<double>& values() const { return values_; }

 private:
  friend class TrialAccess;

  SearchSpace space_;
  std::vector<double> values_;
  int64_t number_ = 0;
  int64_t repeat_ = 0;
  int64_t seed_ = 0;
  int64_t last_step_ = -1;
  std::weak_ptr<Report> report_;  // the search has it while the run lasts
};

}  // namespace stepsize
