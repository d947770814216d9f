#pragma once

#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include "course.h"
#include "image_model.h"
#include "image_set.h"
#include "options.h"
#include "results.h"

namespace stepsize::trainer {

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
    const Course& course,
    std::ostream& out);

/// and what came out: of all epochs, that of `kept` (counted from 0) is the
/// result.
void report_result(
    const std::vector<EpochResult>& epochs,
    std::size_t kept,
    bool stopped_early,
    double seconds,
    std::ostream& out);

/// The epoch with the lowest test loss, and the files that the run has left in
/// its folder, as lines for a person.
void report_summary(
    const std::vector<EpochResult>& epochs,
    const std::filesystem::path& folder,
    std::ostream& out);

/// "Ctrl-C", "SIGTERM".
std::string signal_name(int signal);

}  // namespace stepsize::trainer
