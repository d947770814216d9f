#pragma once

#include <stepsize/report/csv_writer.h>

#include <filesystem>
#include <vector>

#include "results.h"
#include "run_pictures.h"

namespace stepsize::trainer {

/// Makes the folder of a run where it is missing. Throws std::runtime_error
/// naming it where that cannot be.
std::filesystem::path make_run_folder(const std::filesystem::path& folder);

/// The files of a run, in a folder: log.csv with a row an epoch, steps.csv
/// with a row an update, and the pictures of run_pictures.h. The rows are on
/// the disk as soon as they are added; a value that is not known is an empty
/// cell.
class RunLog {
 public:
  /// Makes the folder, starts the tables anew, draws the plan, and takes an
  /// earlier run's other pictures away. Throws std::runtime_error naming the
  /// path where one of them cannot be written, so that a run need not end to
  /// find out.
  RunLog(const std::filesystem::path& folder, const RunPlan& plan);

  void add(const StepResult& result);
  void add(const EpochResult& result);

  /// Draws all pictures from the rows so far.
  void draw() const;

 private:
  std::filesystem::path folder_;
  RunPlan plan_;
  CsvWriter epoch_table_;
  CsvWriter step_table_;
  std::vector<StepResult> steps_;
  std::vector<EpochResult> epochs_;
};

}  // namespace stepsize::trainer
