#include "examples/trainer/loop/run_schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

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
    const RunSchedule& run_schedule,
    const TrainOptions& options,
    std::int64_t update,
    std::int64_t left) {
  return std::min(
      run_schedule.micro_batches(update) * options.batch_size, left);
}

TEST(PlanSchedule, KeepsRatePerImageOnTheSchedule) {
  for (const std::int64_t images : {60, 64, 1000}) {
    for (const std::int64_t most : {40, 47, 400}) {
      const auto options = growing(20, most);
      std::ostringstream err;
      const RunSchedule run_schedule = plan_schedule(options, images, err);
      std::int64_t update = 0;
      std::int64_t seen = 0;
      for (std::int64_t epoch = 1; epoch <= options.epochs; ++epoch) {
        while (seen < epoch * images) {
          const auto batch =
              images_of(run_schedule, options, update, epoch * images - seen);
          EXPECT_LE(batch, most);
          // Half a cosine over all images, times the batch over its first one.
          const double share = static_cast<double>(seen) /
                               static_cast<double>(options.epochs * images);
          const double wanted = (1 + std::cos(M_PI * share)) / 2 *
                                static_cast<double>(batch) / 20;
          EXPECT_NEAR(
              run_schedule.factor(static_cast<double>(update)), wanted, 1e-9)
              << images << ", " << most << ", update " << update;
          seen += batch;
          ++update;
        }
      }
      EXPECT_EQ(update, run_schedule.updates);
      // The last update is one with a rate.
      EXPECT_GT(run_schedule.factor(static_cast<double>(update - 1)), 0);
    }
  }
}

TEST(Lengthen, DrawsWhatIsLeftOverTheNewLength) {
  auto options = growing(20, 47);
  options.epochs = 4;
  std::ostringstream err;
  constexpr std::int64_t kEpochImages = 100;
  RunSchedule run_schedule = plan_schedule(options, kEpochImages, err);
  const RunSchedule before = plan_schedule(options, kEpochImages, err);
  // After one and a half epochs, from 4 epochs to 8, and later to 7.
  const std::vector<Stretch> stretches{{140, 8}, {400, 7}};
  lengthen(run_schedule, stretches, options, kEpochImages);
  std::int64_t update = 0;
  std::int64_t seen = 0;
  while (seen < 7 * kEpochImages) {
    const std::int64_t left = (seen / kEpochImages + 1) * kEpochImages - seen;
    const auto batch = images_of(run_schedule, options, update, left);
    const auto now = static_cast<double>(seen);
    if (seen < 140) {
      EXPECT_EQ(
          run_schedule.micro_batches(update), before.micro_batches(update));
      EXPECT_EQ(
          run_schedule.factor(static_cast<double>(update)),
          before.factor(static_cast<double>(update)));
    }
    // Of 260 images that were left at 140, 660 are made; of those, 400 left
    // at 400 become 300.
    const double at_400 = 140 + 260.0 * 260 / 660;
    const double planned = seen < 140 ? now
                           : seen < 400
                               ? 140 + (now - 140) * 260 / 660
                               : at_400 + (now - 400) * (400 - at_400) / 300;
    const double wanted = (1 + std::cos(M_PI * planned / 400)) / 2 *
                          static_cast<double>(batch) / 20;
    EXPECT_NEAR(run_schedule.factor(static_cast<double>(update)), wanted, 1e-9)
        << "update " << update;
    seen += batch;
    ++update;
  }
  EXPECT_EQ(update, run_schedule.updates);
}

TEST(Lengthen, LeavesEveryBitOfThePast) {
  for (std::int64_t images = 90; images < 130; ++images) {
    auto options = growing(20, 47);
    options.epochs = 4;
    std::ostringstream err;
    RunSchedule once = plan_schedule(options, images, err);
    std::int64_t seen = 0;
    const auto to_update = [&](std::int64_t from, std::int64_t to) {
      for (std::int64_t update = from; update < to; ++update) {
        const std::int64_t left = (seen / images + 1) * images - seen;
        seen += images_of(once, options, update, left);
      }
    };
    constexpr std::int64_t kFirst = 3;
    constexpr std::int64_t kSecond = 9;
    to_update(0, kFirst);
    const Stretch first{seen, 9};
    lengthen(once, {first}, options, images);
    to_update(kFirst, kSecond);
    RunSchedule twice = plan_schedule(options, images, err);
    lengthen(twice, {first, {seen, 7}}, options, images);
    for (std::int64_t update = 0; update < kSecond; ++update) {
      EXPECT_EQ(twice.micro_batches(update), once.micro_batches(update));
      EXPECT_EQ(
          twice.factor(static_cast<double>(update)),
          once.factor(static_cast<double>(update)))
          << images << " images, update " << update;
    }
  }
}

TEST(Lengthen, CountsTheUpdatesOfAPlainSchedule) {
  TrainOptions options;
  options.epochs = 2;
  options.batch_size = 16;
  std::ostringstream err;
  RunSchedule run_schedule = plan_schedule(options, 60, err);
  EXPECT_EQ(run_schedule.updates, 8);
  lengthen(run_schedule, {{30, 5}}, options, 60);
  EXPECT_EQ(run_schedule.updates, 20);
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
