#pragma once

#include <stepsize/curvature/curvature_measurement.h>
#include <stepsize/report/csv_writer.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "examples/trainer/loop/results.h"
#include "examples/trainer/run/run_pictures.h"

namespace stepsize::trainer {

/// Makes the folder of a run where it is missing. Throws std::runtime_error
/// naming it where that cannot be.
std::filesystem::path make_run_folder(const std::filesystem::path& folder);

/// How much of a run's log belongs to a checkpoint.
struct LogPlace {
  std::int64_t steps = 0;   ///< rows of steps.csv
  std::int64_t epochs = 0;  ///< rows of log.csv
  /// Updates before which steps were taken back, which no column tells.
  std::vector<std::int64_t> rollbacks;
  /// Rows of curvature.csv, where there is one.
  std::vector<CurvatureMeasurement> curvature;
};

/// The files of a run, in a folder: log.csv with a row an epoch, steps.csv
/// with a row an update, curvature.csv with a row a measurement where the
/// curvature is watched, and the pictures of run_pictures.h. The rows are in
/// the files as soon as they are added; a value that is not known is an empty
/// cell.
///
/// Where a row cannot be written, as on a full disk, it waits and is tried
/// again with the next ones.
class RunLog {
 public:
  /// Makes the folder, starts the tables anew, draws the plan, and takes an
  /// earlier run's other pictures away. Throws std::runtime_error naming the
  /// path where one of them cannot be written, so that a run need not end to
  /// find out.
  RunLog(const std::filesystem::path& folder, const RunPlan& plan);

  /// Goes on with the tables of a run that was at `place`: rows beyond it are
  /// cut off, those before it stay byte for byte (curvature.csv is written
  /// anew, with the same bytes). Throws std::runtime_error
  /// naming the path where one of them is missing, shorter, or not such a
  /// table; both are then as they were.
  RunLog(
      const std::filesystem::path& folder,
      const RunPlan& plan,
      const LogPlace& place);

  void add(const StepResult& result);
  void add(const EpochResult& result);
  void add(const CurvatureMeasurement& row);

  /// Writes the rows that wait, and waits until all tables are on the disk.
  /// Throws std::runtime_error naming the path where that cannot be.
  void sync();
  /// Why rows wait; empty where none do.
  const std::string& error() const { return error_; }

  /// Draws all pictures from the rows so far.
  void draw() const;

  /// Where the log is.
  const LogPlace& place() const { return place_; }
  /// Epochs so far, from the start of the run.
  const std::vector<EpochResult>& epochs() const { return epochs_; }

 private:
  struct Rows {
    std::vector<StepResult> steps;
    std::vector<EpochResult> epochs;
  };

  RunLog(
      const std::filesystem::path& folder,
      const RunPlan& plan,
      const LogPlace& place,
      Rows rows);
  static Rows read_back(
      const std::filesystem::path& folder, const LogPlace& place);
  void open_curvature_table();
  void write_rows();
  void try_to_write();

  std::filesystem::path folder_;
  RunPlan plan_;
  LogPlace place_;
  std::vector<StepResult> steps_;
  std::vector<EpochResult> epochs_;
  CsvWriter epoch_table_;
  CsvWriter step_table_;
  std::optional<CsvWriter> curvature_table_;
  // Rows that are in the files.
  std::size_t written_steps_ = 0;
  std::size_t written_epochs_ = 0;
  std::size_t written_curvature_ = 0;
  std::string error_;
};

}  // namespace stepsize::trainer
