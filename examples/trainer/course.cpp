#include "course.h"

#include <stepsize/schedule/lint.h>
#include <stepsize/schedule/parse.h>
#include <stepsize/tune/batch_size_schedule.h>

#include <algorithm>

#include "training.h"

namespace stepsize::trainer {
namespace {

// At a thousand times of a run.
bool rises_and_falls(const Schedule& schedule, double length) {
  constexpr int kTimes = 1000;
  double highest = 0;
  for (int i = 0; i <= kTimes; ++i) {
    highest = std::max(highest, schedule(length * i / kTimes));
  }
  return schedule(0) < highest / 2 && schedule(length) < highest / 2;
}

}  // namespace

std::int64_t first_batch(const TrainOptions& options) {
  return options.batch_size * options.accumulate;
}

Course plan_course(
    const TrainOptions& options, std::int64_t batches, std::ostream& err) {
  const std::int64_t updates_an_epoch =
      (batches + options.accumulate - 1) / options.accumulate;
  ParseContext context;
  context.steps_per_epoch = static_cast<double>(updates_an_epoch);
  context.run_length = static_cast<double>(options.epochs * updates_an_epoch);
  const Schedule schedule = parse(options.schedule, context);
  for (const auto& warning : lint(schedule, context.run_length)) {
    err << "warning: schedule: " << warning.message << '\n';
  }
  const bool has_peak = rises_and_falls(schedule, context.run_length);
  if (options.batch_schedule == 0) {
    return {
        schedule,
        schedule.to_string(),
        options.epochs * updates_an_epoch,
        has_peak,
        [k = options.accumulate](std::int64_t) { return k; }};
  }
  const BatchSizeSchedule growth(
      schedule.limit(context.run_length),
      BatchSizeScheduleOptions(first_batch(options), options.batch_schedule)
          .max_micro_batch(options.batch_size)
          .exchange(
              options.lr_scaling == "sqrt" ? BatchExchange::kSquareRoot
                                           : BatchExchange::kLinear));
  const auto micro_batches = [growth](std::int64_t update) {
    return growth.at_update(update).accumulation;
  };
  return {
      growth.lr_schedule(),
      growth.to_string(),
      count_updates(batches, options.epochs, micro_batches),
      has_peak,
      micro_batches};
}

}  // namespace stepsize::trainer
