#pragma once

#include <stepsize/schedule/schedule.h>

#include <cstdint>
#include <functional>
#include <ostream>
#include <string>

#include "options.h"

namespace stepsize::trainer {

/// How a run goes from update to update.
struct Course {
  /// Of the rate, at update n = 0, 1, ...
  Schedule factor;
  /// For a person.
  std::string text;
  std::int64_t updates = 0;
  /// Whether the schedule rises to its highest factor and falls from there to
  /// less than half of it, so that it can go as high as the loss bears.
  bool has_peak = false;
  /// Micro-batches of update n.
  std::function<std::int64_t(std::int64_t)> micro_batches;
};

/// The course of a run whose epochs have so many micro-batches: its schedule,
/// which changes the rate or, with options.batch_schedule, the batch first.
/// What looks like a mistake in the schedule is said to `err`. Throws
/// ParseError where it cannot be read.
Course plan_course(
    const TrainOptions& options, std::int64_t batches, std::ostream& err);

/// Images in an update at the start of a run.
std::int64_t first_batch(const TrainOptions& options);

}  // namespace stepsize::trainer
