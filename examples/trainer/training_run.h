#pragma once

#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/tune/early_stopping.h>

#include <chrono>
#include <memory>
#include <optional>

#include "processes.h"
#include "progress.h"
#include "run_checkpoints.h"
#include "run_log.h"
#include "run_setup.h"
#include "training.h"
#include "training_state.h"
#include "updater.h"

namespace stepsize::trainer {

/// Says what goes wrong with log and pictures: once, until it is another thing.
class LogWatch {
 public:
  void look(const RunLog& log, Progress& progress, std::ostream& err);
  void draw(const RunLog& log, Progress& progress, std::ostream& err);

 private:
  std::string said_;
};

/// The training of a run, with its log and checkpoints, from the set-up to the
/// report.
class TrainingRun {
 public:
  /// Makes updater and scheduler, loads what a run that goes on has saved, and
  /// opens the log. Where loading or opening throws on one process, it throws
  /// on all. Set-up and console must live as long as this does.
  TrainingRun(const RunSetup& setup, const Console& console);
  TrainingRun(const TrainingRun&) = delete;
  TrainingRun& operator=(const TrainingRun&) = delete;

  /// Trains and reports; returns the exit status.
  int run();

 private:
  bool saves() const { return setup_.options.checkpoint_every != 0; }
  bool resumes() const { return setup_.request.earlier.has_value(); }
  EarlyStopping* early_stopping() { return stopping_ ? &*stopping_ : nullptr; }
  void open_log(const LogPlace& place, bool has_new_length);
  template <typename Result>
  void hear(const Result& result);
  TrainingEnd train_on();
  void save(std::optional<double> test_loss);
  // What all had done before another process was lost.
  bool save_for_lost();
  void draw();

  const RunSetup& setup_;
  const Console& console_;
  std::chrono::steady_clock::time_point start_ =
      std::chrono::steady_clock::now();
  std::unique_ptr<Updater> updater_;
  ScheduleLR scheduler_;
  std::optional<EarlyStopping> stopping_;
  TrainingState state_;
  RunCheckpoints checkpoints_;
  RunPlan plan_;
  // Of the first process only.
  std::optional<RunLog> log_;
  LastRows last_rows_;
  LogWatch watch_;
  std::optional<Progress> progress_;
};

}  // namespace stepsize::trainer
