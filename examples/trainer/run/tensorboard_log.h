#pragma once

#include <stepsize/curvature/curvature_measurement.h>
#include <stepsize/tensorboard/event_writer.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "examples/trainer/cli/options.h"
#include "examples/trainer/loop/results.h"

namespace stepsize::trainer {

/// Throws std::runtime_error for a folder where this program was built without
/// stepsize::tensorboard. Does nothing for an empty path.
void check_tensorboard(const std::filesystem::path& folder);

/// A run in a folder for TensorBoard: what log.csv, steps.csv and curvature.csv
/// have, as curves over the updates.
///
/// Where something cannot be written, as on a full disk, the log ends, and the
/// run goes on.
class TensorBoardLog {
 public:
  /// Begins with the options, as a table. Of a run that goes on after `steps`
  /// updates TensorBoard forgets what is beyond them, of a new one all that was
  /// in the folder. Throws std::runtime_error where it cannot be written.
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
