#pragma once

#include <stepsize/report/csv_writer.h>
#include <stepsize/schedule/schedule.h>

#include <cstdint>
#include <filesystem>
#include <vector>

#include "results.h"

namespace stepsize::trainer {

/// The files of a run, in a folder: log.csv with a row an epoch, steps.csv
/// with a row an update, and the pictures lr.svg, loss.svg and accuracy.svg.
/// The rows are on the disk as soon as they are added.
class RunLog {
 public:
  /// Makes the folder, starts the tables anew, draws lr.svg as planned for a
  /// run of `steps` updates, and takes an earlier run's other pictures away.
  /// Throws std::runtime_error naming the path where one of them cannot be
  /// written, so that a run need not end to find out.
  RunLog(
      const std::filesystem::path& folder,
      const Schedule& schedule,
      double lr,
      std::int64_t steps);

  void add(const StepResult& result);
  void add(const EpochResult& result);

  /// Draws loss.svg and accuracy.svg from the rows so far.
  void draw() const;

 private:
  std::filesystem::path folder_;
  CsvWriter epoch_table_;
  CsvWriter step_table_;
  std::vector<StepResult> steps_;
  std::vector<EpochResult> epochs_;
};

}  // namespace stepsize::trainer
