#pragma once

#include <stepsize/lr_scheduler/schedule_lr.h>

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>

#include "examples/trainer/cli/options.h"
#include "examples/trainer/loop/run_schedule.h"
#include "examples/trainer/loop/training_state.h"
#include "examples/trainer/run/run_record.h"

namespace stepsize::trainer {

/// What a command line asks for.
struct RunRequest {
  /// Those of an earlier part of the run included.
  TrainOptions options;
  /// Of the run that is to go on; nothing for a new one.
  std::optional<RunRecord> earlier;
};

/// Reads the record of the newest sound checkpoint where the run is to go on;
/// damaged ones are named on `err`. Throws as read_record() where there is
/// none, std::invalid_argument where an option is given that the run does not
/// have.
RunRequest read_request(const CommandLine& command, std::ostream& err);

/// Says why a run has nothing left to do, and how it can be made longer; empty
/// where it has. Throws std::invalid_argument for a length that it is beyond.
std::string nothing_left(const RunRequest& request);

/// Throws std::invalid_argument where the run that goes on has had other
/// images; `data` is data_text() of the ones that are there.
void check_data(const RunRequest& request, const std::string& data);

/// The schedule as it was planned first. Of a run that goes on nothing is said
/// to `err` again.
RunSchedule first_schedule(
    const RunRequest& request,
    TrainOptions options,
    std::int64_t images,
    std::ostream& err);

/// Gives schedule and scheduler of a run that goes on the lengths that it had,
/// and the one that options.epochs asks for: what is left of the schedule is
/// drawn out as much as what is left of the run, and the rate goes on without a
/// jump. What a schedule has beyond a run that has ended comes at its own pace.
/// True where the length is new, and in the record. `images` are those of an
/// epoch. Says to `out` which rate a schedule that has ended holds; throws
/// std::invalid_argument where that is none and the run is to be longer.
bool set_length(
    RunRecord& record,
    RunSchedule& run_schedule,
    ScheduleLR& scheduler,
    const TrainingState& state,
    const TrainOptions& options,
    std::int64_t images,
    std::ostream& out);

}  // namespace stepsize::trainer
