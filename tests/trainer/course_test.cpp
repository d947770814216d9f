#include "examples/trainer/course.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <sstream>
#include <string>

namespace stepsize::trainer {
namespace {

TrainOptions growing(std::int64_t batch_size, std::int64_t most) {
  TrainOptions options;
  options.schedule = "cosine";
  options.batch_size = batch_size;
  options.epochs = 30;
  options.batch_schedule = most;
  options.lr_scaling = "linear";
  return options;
}

// What an update has: micro-batches as planned, or what is left of the epoch.
std::int64_t images_of(
    const Course& course,
    const TrainOptions& options,
    std::int64_t update,
    std::int64_t left) {
  return std::min(course.micro_batches(update) * options.batch_size, left);
}

TEST(PlanCourse, KeepsRatePerImageOnTheSchedule) {
  for (const std::int64_t images : {60, 64, 1000}) {
    for (const std::int64_t most : {40, 47, 400}) {
      const auto options = growing(20, most);
      std::ostringstream err;
      const Course course = plan_course(options, images, err);
      std::int64_t update = 0;
      std::int64_t seen = 0;
      for (std::int64_t epoch = 1; epoch <= options.epochs; ++epoch) {
        while (seen < epoch * images) {
          const auto batch =
              images_of(course, options, update, epoch * images - seen);
          EXPECT_LE(batch, most);
          // Half a cosine over all images, times the batch over its first one.
          const double share = static_cast<double>(seen) /
                               static_cast<double>(options.epochs * images);
          const double wanted = (1 + std::cos(M_PI * share)) / 2 *
                                static_cast<double>(batch) / 20;
          EXPECT_NEAR(course.factor(static_cast<double>(update)), wanted, 1e-9)
              << images << ", " << most << ", update " << update;
          seen += batch;
          ++update;
        }
      }
      EXPECT_EQ(update, course.updates);
      // The last update is one with a rate.
      EXPECT_GT(course.factor(static_cast<double>(update - 1)), 0);
    }
  }
}

TEST(PlanCourse, KnowsAScheduleWithAPeak) {
  TrainOptions options;
  options.epochs = 4;
  std::ostringstream err;
  const auto has_peak = [&](const char* schedule) {
    options.schedule = schedule;
    return plan_course(options, 1000, err).has_peak;
  };
  EXPECT_TRUE(has_peak("warmup 10% > cosine 90%"));
  EXPECT_TRUE(has_peak("one_cycle"));
  EXPECT_FALSE(has_peak("constant"));
  EXPECT_FALSE(has_peak("cosine"));
  EXPECT_FALSE(has_peak("warmup 10% > constant"));
}

TEST(FitToData, LeavesNoBatchLargerThanTheData) {
  TrainOptions options;
  options.batch_size = 16;
  options.accumulate = 4;
  std::ostringstream out;
  auto fitted = fit_to_data(options, 60, out);
  EXPECT_EQ(fitted.batch_size, 16);
  EXPECT_EQ(fitted.accumulate, 4);
  EXPECT_EQ(out.str(), "");
  fitted = fit_to_data(options, 20, out);
  EXPECT_EQ(fitted.accumulate, 2);
  EXPECT_EQ(out.str(), "--accumulate 4: an epoch has 2 micro-batches\n");
  fitted = fit_to_data(options, 10, out);
  EXPECT_EQ(fitted.batch_size, 10);
  EXPECT_EQ(fitted.accumulate, 1);
}

}  // namespace
}  // namespace stepsize::trainer
