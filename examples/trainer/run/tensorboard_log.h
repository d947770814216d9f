#pragma once

#include <stepsize/curvature/curvature_measurement.h>
#include <stepsize/tensorboard/event_writer.h>

#include <cstdint>
#include <filesystem>
#include <iosfwd>
#include <optional>
#include <string>

#include "examples/trainer/cli/options.h"
#include "examples/trainer/loop/results.h"

namespace stepsize::trainer {

/// Throws std::runtime_error for a folder that cannot be or be written, or
/// where this program was built without stepsize::tensorboard, and, unless the
/// run `takes_over`, std::invalid_argument for one that has the events of a
/// run. Warns where pictures cannot be drawn. Does nothing for an empty path.
void check_tensorboard(
    const std::filesystem::path& folder, bool takes_over, std::ostream& err);

/// A run in a folder for TensorBoard: what log.csv, steps.csv and curvature.csv
/// have, as curves over the updates.
///
/// Where something cannot be written, as on a full disk, the log ends, and the
/// run goes on.
class TensorBoardLog {
 public:
  /// Begins with the options, as a table. A run that goes on after `steps`
  /// updates adds a file to those that are there, as EventWriter has it; a new
  /// one removes them, but for those of other programs. Throws
  /// std::runtime_error where the folder cannot be written.
  TensorBoardLog(
      const std::filesystem::path& folder,
      const OptionValues& options,
      std::int64_t steps);

  void add(const StepResult& result);
  void add(const EpochResult& result);
  void add(const CurvatureMeasurement& row);
  /// The pictures in the folder of the run.
  void add_pictures(const std::filesystem::path& run_folder, std::int64_t step);

  /// Why the log has ended; empty where it has not.
  const std::string& error() const { return error_; }

 private:
  template <typename Write>
  void guarded(const Write& write);

  std::optional<EventWriter> events_;
  std::string error_;
};

}  // namespace stepsize::trainer
