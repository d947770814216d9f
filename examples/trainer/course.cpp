#include "course.h"

#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/lint.h>
#include <stepsize/schedule/parse.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "text.h"

namespace stepsize::trainer {
namespace {

Course growing_course(std::shared_ptr<GrowingBatches> growing) {
  Course course;
  course.text = growing->to_string();
  course.updates = growing->updates();
  course.factor =
      callable([growing](double update) { return growing->factor(update); });
  course.micro_batches = [growing](std::int64_t update) {
    return growing->micro_batches(update);
  };
  course.growing = std::move(growing);
  return course;
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

Course plan_course(
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
  Course course;
  if (grows) {
    course = growing_course(std::make_shared<GrowingBatches>(
        options, images, schedule, context.run_length));
  } else {
    course.factor = schedule;
    course.text = schedule.to_string();
    course.updates = options.epochs * updates;
    course.micro_batches = [k = options.accumulate](std::int64_t) { return k; };
  }
  return course;
}

void stretch_course(
    Course& course,
    const std::vector<Stretch>& stretches,
    const TrainOptions& options,
    std::int64_t images) {
  if (stretches.empty()) {
    return;
  }
  if (course.growing) {
    course.growing->stretch(stretches);
    course.updates = course.growing->updates();
  } else {
    course.updates =
        stretches.back().epochs * updates_an_epoch(options, images);
  }
}

}  // namespace stepsize::trainer
