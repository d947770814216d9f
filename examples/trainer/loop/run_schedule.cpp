#include "examples/trainer/loop/run_schedule.h"

#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/lint.h>
#include <stepsize/schedule/parse.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "examples/trainer/cli/text.h"
#include "examples/trainer/loop/optimizer_table.h"

namespace stepsize::trainer {
namespace {

RunSchedule growing_schedule(std::shared_ptr<GrowingBatches> growing) {
  RunSchedule run_schedule;
  run_schedule.text = growing->to_string();
  run_schedule.updates = growing->updates();
  run_schedule.factor =
      callable([growing](double update) { return growing->factor(update); });
  run_schedule.micro_batches = [growing](std::int64_t update) {
    return growing->micro_batches(update);
  };
  run_schedule.growing = std::move(growing);
  return run_schedule;
}

// Whether more than half of the updates have another factor than the one
// before.
bool changes_mostly(const Schedule& schedule, double length) {
  double changes = 0;
  for (double update = 1; update < length; ++update) {
    changes += schedule(update) == schedule(update - 1) ? 0 : 1;
  }
  return 2 * changes > length;
}

// How often the rate has fallen by the time it rises again, or the run ends.
std::int64_t cycles_of(const Schedule& schedule, double length) {
  std::int64_t cycles = 1;
  bool has_fallen = false;
  for (double update = 1; update < length; ++update) {
    const double change = schedule(update) - schedule(update - 1);
    has_fallen = has_fallen || change < 0;
    if (has_fallen && change > 0) {
      ++cycles;
      has_fallen = false;
    }
  }
  return cycles;
}

}  // namespace

std::int64_t updates_an_epoch(
    const TrainOptions& options, std::int64_t images) {
  const std::int64_t batch = options.whole_batch() * options.accumulate;
  return (images + batch - 1) / batch;
}

TrainOptions fit_to_data(
    TrainOptions options, std::int64_t images, std::ostream& out) {
  if (options.whole_batch() > images) {
    out << "--batch-size " << options.batch_size << ": a batch is all "
        << counted(images, "image") << '\n';
    options.batch_size = (images + options.world_size - 1) / options.world_size;
  }
  const std::int64_t batch = options.whole_batch();
  const std::int64_t batches = (images + batch - 1) / batch;
  if (options.accumulate > batches) {
    out << "--accumulate " << options.accumulate << ": an epoch has " << batches
        << (batches == 1 ? " micro-batch" : " micro-batches") << '\n';
    options.accumulate = batches;
  }
  return options;
}

RunSchedule plan_schedule(
    const TrainOptions& options, std::int64_t images, std::ostream& err) {
  const std::int64_t updates = updates_an_epoch(options, images);
  const bool grows = options.batch_schedule > 0;
  ParseContext context;
  context.steps_per_epoch =
      grows
          ? static_cast<double>(images) /
                static_cast<double>(options.whole_batch() * options.accumulate)
          : static_cast<double>(updates);
  context.run_length =
      static_cast<double>(options.epochs) * context.steps_per_epoch;
  const Schedule schedule = parse(options.schedule, context);
  for (const auto& warning : lint(schedule, context.run_length)) {
    err << "warning: schedule: " << warning.message << '\n';
  }
  if (optimizer_row(options.optimizer).learns_rate &&
      changes_mostly(schedule, context.run_length)) {
    err << "warning: schedule: " << options.optimizer
        << " learns its rate from where a schedule has set it last: where that "
           "changes in every update there is nothing to learn\n";
  }
  if (options.ensemble > 0) {
    const auto cycles = cycles_of(schedule, context.run_length);
    if (cycles != options.ensemble) {
      err << "warning: schedule: its rate falls and rises again so that it has "
          << counted(cycles, "cycle") << ", and --ensemble is "
          << options.ensemble << '\n';
    }
  }
  RunSchedule run_schedule;
  if (grows) {
    run_schedule = growing_schedule(std::make_shared<GrowingBatches>(
        options, images, schedule, context.run_length));
  } else {
    run_schedule.factor = schedule;
    run_schedule.text = schedule.to_string();
    run_schedule.updates = options.epochs * updates;
    run_schedule.micro_batches = [k = options.accumulate](std::int64_t) {
      return k;
    };
  }
  return run_schedule;
}

void lengthen(
    RunSchedule& run_schedule,
    const std::vector<Stretch>& stretches,
    const TrainOptions& options,
    std::int64_t images) {
  if (stretches.empty()) {
    return;
  }
  if (run_schedule.growing) {
    run_schedule.growing->stretch(stretches);
    run_schedule.updates = run_schedule.growing->updates();
  } else {
    run_schedule.updates =
        stretches.back().epochs * updates_an_epoch(options, images);
  }
}

}  // namespace stepsize::trainer
