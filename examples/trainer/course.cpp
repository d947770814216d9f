#include "course.h"

#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/lint.h>
#include <stepsize/schedule/parse.h>
#include <stepsize/tune/batch_size_schedule.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "text.h"

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

// The same run with a batch that grows. Time counts images: an update that is
// cut short by the end of an epoch moves it by what it had, at the rate for
// that.
Course growing_course(
    const TrainOptions& options,
    std::int64_t images,
    const Schedule& schedule,
    double run_length) {
  const std::int64_t base = options.batch_size * options.accumulate;
  const BatchSizeSchedule growth(
      schedule.limit(run_length),
      BatchSizeScheduleOptions(base, options.batch_schedule)
          .max_micro_batch(options.batch_size)
          .multiple_of(options.batch_size)
          .exchange(
              options.lr_scaling == "sqrt" ? BatchExchange::kSquareRoot
                                           : BatchExchange::kLinear));
  auto parts = std::make_shared<std::vector<std::int64_t>>();
  auto factors = std::make_shared<std::vector<double>>();
  std::int64_t seen = 0;
  for (std::int64_t epoch = 1; epoch <= options.epochs; ++epoch) {
    while (seen < epoch * images) {
      const double time = static_cast<double>(seen) / static_cast<double>(base);
      const BatchPlan plan = growth.at(time);
      const std::int64_t taken = std::min(plan.batch, epoch * images - seen);
      parts->push_back(plan.accumulation);
      factors->push_back(growth.lr_factor(time, taken));
      seen += taken;
    }
  }
  Course course;
  course.text = growth.to_string();
  course.updates = static_cast<std::int64_t>(parts->size());
  course.factor = callable(
      [factors](double update) {
        const auto last = static_cast<double>(factors->size() - 1);
        return (*factors)[static_cast<std::size_t>(std::min(update, last))];
      },
      static_cast<double>(parts->size()));
  course.micro_batches = [parts](std::int64_t update) {
    return (*parts)[static_cast<std::size_t>(update)];
  };
  return course;
}

}  // namespace

TrainOptions fit_to_data(
    TrainOptions options, std::int64_t images, std::ostream& out) {
  if (options.batch_size > images) {
    out << "--batch-size " << options.batch_size << ": a batch is all "
        << counted(images, "image") << '\n';
    options.batch_size = images;
  }
  const std::int64_t batches =
      (images + options.batch_size - 1) / options.batch_size;
  if (options.accumulate > batches) {
    out << "--accumulate " << options.accumulate << ": an epoch has " << batches
        << (batches == 1 ? " micro-batch" : " micro-batches") << '\n';
    options.accumulate = batches;
  }
  return options;
}

Course plan_course(
    const TrainOptions& options, std::int64_t images, std::ostream& err) {
  const std::int64_t batch = options.batch_size * options.accumulate;
  const std::int64_t updates_an_epoch = (images + batch - 1) / batch;
  const bool grows = options.batch_schedule > 0;
  ParseContext context;
  context.steps_per_epoch =
      grows ? static_cast<double>(images) / static_cast<double>(batch)
            : static_cast<double>(updates_an_epoch);
  context.run_length =
      static_cast<double>(options.epochs) * context.steps_per_epoch;
  const Schedule schedule = parse(options.schedule, context);
  for (const auto& warning : lint(schedule, context.run_length)) {
    err << "warning: schedule: " << warning.message << '\n';
  }
  Course course;
  if (grows) {
    course = growing_course(options, images, schedule, context.run_length);
  } else {
    course.factor = schedule;
    course.text = schedule.to_string();
    course.updates = options.epochs * updates_an_epoch;
    course.micro_batches = [k = options.accumulate](std::int64_t) { return k; };
  }
  course.has_peak = rises_and_falls(schedule, context.run_length);
  return course;
}

}  // namespace stepsize::trainer
