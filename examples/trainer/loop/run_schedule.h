#pragma once

#include <stepsize/schedule/ramp.h>
#include <stepsize/schedule/schedule.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "examples/trainer/cli/options.h"
#include "examples/trainer/loop/growing_batches.h"

namespace stepsize::trainer {

/// How a run goes from update to update.
struct RunSchedule {
  /// Of the rate, at update n = 0, 1, ...
  Schedule factor = constant();
  /// For a person.
  std::string text;
  std::int64_t updates = 0;
  /// Micro-batches of update n.
  std::function<std::int64_t(std::int64_t)> micro_batches;
  /// Where the batch grows: what `factor` and `micro_batches` go by.
  std::shared_ptr<GrowingBatches> growing;
};

/// The same options with no larger batch, and no more micro-batches in an
/// update, than `images` images have; says to `out` what it changes.
TrainOptions fit_to_data(
    TrainOptions options, std::int64_t images, std::ostream& out);

/// The schedule of a run whose epochs have so many images, with options that
/// fit them: its schedule, which changes the rate or, with
/// options.batch_schedule, the batch first. What looks like a mistake in the
/// schedule is said to `err`. Throws ParseError where it cannot be read.
RunSchedule plan_schedule(
    const TrainOptions& options, std::int64_t images, std::ostream& err);

/// Updates in an epoch of so many images, with a batch that does not grow.
std::int64_t updates_an_epoch(const TrainOptions& options, std::int64_t images);

/// Gives a schedule with epochs of so many images other lengths, one after the
/// other. Where the batch grows, the updates of the last one are laid out;
/// otherwise only their number changes, and the scheduler is to be extended.
void lengthen(
    RunSchedule& run_schedule,
    const std::vector<Stretch>& stretches,
    const TrainOptions& options,
    std::int64_t images);

}  // namespace stepsize::trainer
