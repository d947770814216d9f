#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <ostream>

#include "examples/trainer/cli/options.h"
#include "examples/trainer/data/batch_source.h"
#include "examples/trainer/loop/run_schedule.h"
#include "examples/trainer/model/image_model.h"

namespace stepsize::trainer {

/// The most updates of a trial of search_lr().
constexpr std::int64_t kTrialUpdates = 200;

/// The rate, of options.search trials from 1e-5 to 10, that trains best in a
/// run of kTrialUpdates updates (of the whole run, where that is shorter) with
/// the run's schedule at that length: by the mean loss of its last tenth. Each
/// trial starts from the model as it is, on the same images of a new `source`,
/// and the model is as before afterwards. Keeps lr_search.jsonl in the run's
/// folder, from which a search that was ended goes on, writes lr_search.csv and
/// lr_search.svg, and says to `out` what it found. Nothing where `should_stop`
/// ended it. Throws c10::Error where no trial comes to an end.
std::optional<double> search_lr(
    const TrainOptions& options,
    const RunSchedule& run_schedule,
    ImageModel& model,
    const std::function<BatchSource()>& source,
    const std::function<bool()>& should_stop,
    std::ostream& out,
    bool bar);

}  // namespace stepsize::trainer
