#pragma once

#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include "examples/trainer/cli/options.h"
#include "examples/trainer/data/image_set.h"
#include "examples/trainer/loop/results.h"
#include "examples/trainer/loop/run_schedule.h"
#include "examples/trainer/loop/tested_ensemble.h"
#include "examples/trainer/model/image_model.h"

namespace stepsize::trainer {

/// Whom a run reports to.
struct Console {
  std::ostream& out;
  std::ostream& err;
  bool bar;
  /// Of processes that say nothing to `err` too.
  std::ostream& all_err;
};

/// What a person is told of a run: its data and model,
void describe_data(
    const TrainOptions& options,
    const TrainTestSets& sets,
    const ImageModel& model,
    std::ostream& out);

/// how it is going to be trained, the schedule multiplying `lr`,
void describe_run(
    const TrainOptions& options,
    double lr,
    const RunSchedule& run_schedule,
    std::ostream& out);

/// and what came out: of all epochs, that of `kept` (counted from 0) is the
/// result.
void report_result(
    const std::vector<EpochResult>& epochs,
    std::size_t kept,
    bool stopped_early,
    double seconds,
    std::ostream& out);

/// A table of what snapshots are worth together, which goes to ensemble.csv in
/// the folder too; nothing, and false, where there are none.
bool report_ensemble(
    const std::vector<EnsembleRow>& rows,
    const std::filesystem::path& folder,
    const Console& console);

/// The epoch with the lowest test loss, and the files that the run has left in
/// its folder, as lines for a person.
void report_summary(
    const std::vector<EpochResult>& epochs,
    const std::filesystem::path& folder,
    std::ostream& out);

/// "Ctrl-C", "SIGTERM".
std::string signal_name(int signal);

}  // namespace stepsize::trainer
