#pragma once

#include <stepsize/adaptive/snapshot_ensemble.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/checkpoint/checkpoint_folder.h>
#include <stepsize/curvature/curvature_monitor.h>
#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/tune/early_stopping.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <ostream>
#include <string>

#include "examples/trainer/data/batch_source.h"
#include "examples/trainer/loop/trained_optimizer.h"
#include "examples/trainer/loop/training_state.h"
#include "examples/trainer/model/image_model.h"
#include "examples/trainer/run/run_log.h"
#include "examples/trainer/run/run_record.h"

namespace stepsize::trainer {

/// The folder of a run's checkpoints, below that of the run.
std::filesystem::path checkpoint_folder(const std::filesystem::path& run);

/// What the newest sound checkpoint of a run says of it; newer ones that are
/// damaged are named on `err`. Throws std::runtime_error or c10::Error where
/// there is none.
RunRecord read_record(const std::filesystem::path& run, std::ostream& err);

/// Throws std::invalid_argument where the folder has checkpoints of a run.
void check_unused(const std::filesystem::path& run);

/// What a checkpoint holds of a run; nothing is owned.
struct RunParts {
  ImageModel& model;
  TrainedOptimizer& optimizer;
  ScheduleLR& scheduler;
  BatchSource& train;
  TrainingState& state;
  EarlyStopping* early_stopping = nullptr;
  CurvatureMonitor* monitor = nullptr;
  SnapshotEnsemble* ensemble = nullptr;
};

/// The checkpoints of a run: the last two, and that of the epoch with the
/// lowest test loss.
class RunCheckpoints {
 public:
  /// Of the run in this folder. Touches no file.
  RunCheckpoints(
      const std::filesystem::path& run,
      const RunParts& parts,
      RunRecord record);
  RunCheckpoints(const RunCheckpoints&) = delete;
  RunCheckpoints& operator=(const RunCheckpoints&) = delete;

  /// Removes all checkpoints that are there.
  void clear();

  /// Loads the newest sound checkpoint, the one that read_record() has read,
  /// and returns where the log was. All of the record but its options is the
  /// checkpoint's then. Throws c10::Error, and changes nothing, where none is
  /// sound or one does not fit.
  LogPlace load();
  /// Loads this file, wherever it lies, as load_checkpoint() does.
  void load(const std::string& path, const LoadOptions& options);

  /// Saves the run as it is, with the log at `place`. False where that cannot
  /// be, which error() says; earlier checkpoints are then as they were.
  bool save(const LogPlace& place, std::optional<double> test_loss);
  /// The same; but first the log goes to the disk, since a checkpoint is of use
  /// with all rows before it only.
  bool save(RunLog& log, std::optional<double> test_loss);

  /// The same where another process has saved the earlier checkpoints and is
  /// lost. Removes none of them.
  bool save_for_other(const LogPlace& place);

  /// Removes the checkpoint of this update, if there is one.
  void remove(std::int64_t step);

  /// The newest checkpoint's path; nothing where there is none.
  std::optional<std::string> newest() const { return folder_.latest(); }
  /// That of the epoch with the lowest test loss; nothing where there is none.
  std::optional<std::string> best() const { return folder_.best(); }
  /// Why the last save() failed; empty where it did not.
  const std::string& error() const { return error_; }

  /// What save() writes at the head.
  RunRecord& record() { return record_; }

 private:
  // As the folder names them.
  std::string path_of(std::int64_t step) const;
  bool save_by(const LogPlace& place, const std::function<void()>& write);

  CheckpointFolder folder_;
  RunParts parts_;
  RunRecord record_;
  torch::Tensor rollbacks_;
  Checkpoint checkpoint_;
  std::string error_;
};

}  // namespace stepsize::trainer
