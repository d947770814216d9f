#pragma once

#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/state/metric_mode.h>
#include <torch/arg.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace stepsize {

/// The name that MetricMode had here in version 0.1.
using CheckpointMetric = MetricMode;

/// Options of CheckpointFolder.
class CheckpointFolderOptions {
 public:
  /// So many checkpoints are kept; >= 1.
  TORCH_ARG(int64_t, keep_last) = 3;
  /// Whether the checkpoint of the best metric is kept too.
  TORCH_ARG(bool, keep_best) = true;
  /// Whether the best metric is the smallest or the largest.
  TORCH_ARG(MetricMode, mode) = MetricMode::kMin;
};

/// A checkpoint that was passed over, and why.
struct CheckpointFailure {
  std::string path;
  std::string reason;
};

/// What CheckpointFolder has loaded, or found.
struct CheckpointLoadResult {
  /// Empty where there is none.
  std::string path;
  /// The step that it was saved with; -1 where there is none.
  int64_t step = -1;
  /// Damaged files that are newer, newest first.
  std::vector<CheckpointFailure> passed_over;
  /// What was loaded of it, and what was not; empty where none was asked for.
  LoadResult items;

  /// Whether there is one.
  explicit operator bool() const { return !path.empty(); }
};

/// A folder with the last checkpoints of one run, and the best:
///
///     CheckpointFolder folder(
///         "out/checkpoints", CheckpointFolderOptions().keep_last(3));
///     folder.load_latest(checkpoint);  // goes on, or starts anew
///     while (...) {
///       ...
///       folder.save(step, checkpoint, validation_loss);
///     }
///
/// The files are "checkpoint-0000001200.ckpt", which is step 1200, and
/// "best.ckpt", another name (a hard link) of the file that had the best metric
/// so far, or a copy where the file system has no links. A metric that is NaN
/// or infinite is never the best; of equal ones the earliest is. A new process
/// reads the best metric from best.ckpt. Until the first name is removed,
/// damage to the one file is damage to both; a best that is damaged, or of the
/// step that is saved anew, is the best no longer.
///
/// One process at a time may save. Others may load meanwhile; a path of which
/// they were told may be gone soon.
class CheckpointFolder {
 public:
  /// Makes the folder, and those above it, at the first save. Throws c10::Error
  /// for an empty path and for options out of range.
  explicit CheckpointFolder(
      std::string path, const CheckpointFolderOptions& options = {});

  /// Saves as save_checkpoint() does, and then removes the checkpoints beyond
  /// the last `keep_last`, and temporary files of processes that were killed.
  /// Returns the file's path. The file of the same step is replaced.
  ///
  /// `step` is >= 0. Throws c10::Error where the folder has checkpoints that
  /// this object has neither saved nor loaded, so that a new run in an old
  /// folder destroys nothing: see clear(). Throws too where it has one of a
  /// later step. But after load_latest() or load_best() those that are later
  /// than what was loaded belong to a course that was left: they go when the
  /// next one is whole on the disk, just before it takes its name.
  ///
  /// Cost beyond save_checkpoint(): with a metric that is not the best, one
  /// pass over best.ckpt, to see that it is still sound.
  std::string save(
      int64_t step,
      const Checkpoint& checkpoint,
      std::optional<double> metric = std::nullopt);

  /// The path of the checkpoint of the latest step, if there is one.
  std::optional<std::string> latest() const;
  /// The path of best.ckpt, if there is one.
  std::optional<std::string> best() const;
  /// The paths of all but the best, earliest step first.
  std::vector<std::string> paths() const;

  /// Loads the newest checkpoint that is not damaged. Damaged ones that are
  /// newer are passed over and named in the result. Without any checkpoint
  /// nothing is loaded and the result is false.
  ///
  /// Damaged is a file that is cut off, whose checksums are wrong, or that does
  /// not begin as a checkpoint does. Throws c10::Error where all are, where a
  /// sound one does not fit `checkpoint` or is of another format, and where the
  /// system fails: to go on from an older one silently, or to start anew, would
  /// be worse. Nothing is changed then.
  ///
  /// With LoadOptions::only() it is no resume: save() goes on refusing a folder
  /// that has a course of its own.
  CheckpointLoadResult load_latest(
      Checkpoint& checkpoint, const LoadOptions& options = {});
  /// Finds the checkpoint that load_latest() would load, and loads nothing.
  /// Reads each file as verify_checkpoint() does until one is sound. Throws
  /// where all are damaged, and where the system fails.
  CheckpointLoadResult find_latest() const;
  /// Loads best.ckpt. False where there is none; throws as load_checkpoint().
  CheckpointLoadResult load_best(
      Checkpoint& checkpoint, const LoadOptions& options = {});

  /// Removes all checkpoints, and best.ckpt, so that a new run may save here.
  void clear();

  const std::string& path() const { return path_; }
  const CheckpointFolderOptions& options() const { return options_; }

 private:
  void check_course(int64_t step) const;
  bool is_best(int64_t step, double metric) const;
  void leave_course();
  void note_loaded(
      const LoadOptions& options, std::optional<int64_t> step, bool is_best);
  void remove_old(int64_t step) const;

  std::string path_;
  CheckpointFolderOptions options_;
  // Whether all that is in the folder was saved or loaded by this object.
  bool knows_all_ = false;
  // Whether nothing has been saved since something was loaded.
  bool resumed_ = false;
  // The step that was loaded, where that is known and later ones may be there.
  std::optional<int64_t> loaded_;
  bool loaded_best_ = false;
};

}  // namespace stepsize
