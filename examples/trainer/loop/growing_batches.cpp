#include "examples/trainer/loop/growing_batches.h"

#include <algorithm>
#include <cstddef>

namespace stepsize::trainer {
namespace {

BatchSizeSchedule growth_of(
    const TrainOptions& options, const Schedule& schedule, double run_length) {
  return BatchSizeSchedule(
      schedule.limit(run_length),
      BatchSizeScheduleOptions(
          options.whole_batch() * options.accumulate, options.batch_schedule)
          .max_micro_batch(options.whole_batch())
          .multiple_of(options.whole_batch())
          .exchange(
              options.lr_scaling == "sqrt" ? BatchExchange::kSquareRoot
                                           : BatchExchange::kLinear));
}

// From images trained on to those of a run that was never stretched: straight
// lines between these points, level after the last.
struct Point {
  double seen;
  double planned;
};

double planned_at(const std::vector<Point>& points, double seen) {
  for (std::size_t i = 1; i < points.size(); ++i) {
    const Point& a = points[i - 1];
    const Point& b = points[i];
    if (seen < b.seen) {
      // Just 1 where nothing is stretched, so that times stay whole numbers.
      const double pace = (b.planned - a.planned) / (b.seen - a.seen);
      return a.planned + pace * (seen - a.seen);
    }
  }
  return points.back().planned;
}

}  // namespace

GrowingBatches::GrowingBatches(
    const TrainOptions& options,
    std::int64_t images,
    const Schedule& schedule,
    double run_length)
    : growth_(growth_of(options, schedule, run_length)),
      batch_(options.whole_batch() * options.accumulate),
      images_(images),
      epochs_(options.epochs) {
  stretch({});
}

void GrowingBatches::stretch(const std::vector<Stretch>& stretches) {
  const auto end = static_cast<double>(epochs_ * images_);
  std::vector<Point> points{{0, 0}, {end, end}};
  parts_.clear();
  factors_.clear();
  std::int64_t laid = 0;
  // The past is laid out by the points that it had.
  const auto lay_to = [&](std::int64_t until) {
    while (laid < until) {
      const double time = planned_at(points, static_cast<double>(laid)) /
                          static_cast<double>(batch_);
      const BatchPlan plan = growth_.at(time);
      const std::int64_t epoch_end = (laid / images_ + 1) * images_;
      const std::int64_t taken = std::min(plan.batch, epoch_end - laid);
      parts_.push_back(plan.accumulation);
      factors_.push_back(growth_.lr_factor(time, taken));
      laid += taken;
    }
  };
  std::int64_t epochs = epochs_;
  for (const auto& stretch : stretches) {
    lay_to(stretch.images);
    const auto seen = static_cast<double>(stretch.images);
    const Point present{seen, planned_at(points, seen)};
    while (!points.empty() && points.back().seen >= seen) {
      points.pop_back();
    }
    points.push_back(present);
    epochs = stretch.epochs;
    points.push_back({static_cast<double>(epochs * images_), end});
  }
  lay_to(epochs * images_);
}

std::int64_t GrowingBatches::micro_batches(std::int64_t update) const {
  return parts_[static_cast<std::size_t>(std::min(update, updates() - 1))];
}

double GrowingBatches::factor(double update) const {
  const auto last = static_cast<double>(updates() - 1);
  return factors_[static_cast<std::size_t>(std::min(update, last))];
}

}  // namespace stepsize::trainer
