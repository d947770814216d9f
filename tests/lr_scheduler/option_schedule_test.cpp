#include <stepsize/lr_scheduler/option_schedule.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/schedule_lr.h>
#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <tuple>
#include <vector>

#include "tests/support/leaf.h"

namespace stepsize::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using torch::optim::AdamW;
using torch::optim::AdamWOptions;
using torch::optim::OptimizerParamGroup;
using torch::optim::SGD;
using torch::optim::SGDOptions;

double decay_of(const torch::optim::Optimizer& optimizer, std::size_t group) {
  return static_cast<const AdamWOptions&>(
             optimizer.param_groups()[group].options())
      .weight_decay();
}

std::string scheduled_error(const std::function<void()>& call) {
  try {
    call();
  } catch (const c10::Error& error) {
    return error.what_without_backtrace();
  }
  return "nothing was thrown";
}

// A group with decay and one without.
std::unique_ptr<AdamW> two_groups() {
  std::vector<OptimizerParamGroup> groups;
  groups.emplace_back(
      std::vector<torch::Tensor>{leaf({1})},
      std::make_unique<AdamWOptions>(AdamWOptions(0.1).weight_decay(0.04)));
  groups.emplace_back(
      std::vector<torch::Tensor>{leaf({2})},
      std::make_unique<AdamWOptions>(AdamWOptions(0.1).weight_decay(0)));
  return std::make_unique<AdamW>(groups);
}

// The decay of DINO (Caron et al. 2021) rises along half a cosine.
TEST(OptionSchedule, DrivesTheDecayItself) {
  AdamW optimizer({leaf({1})}, AdamWOptions(0.1).weight_decay(0.3));
  OptionSchedule scheduler(
      optimizer,
      "weight_decay",
      "cosine 100 from 0.04 to 0.4",
      ScheduledAs::kValue);
  const double pi = std::acos(-1.0);
  for (int t = 0; t <= 120; ++t) {
    const double share = std::min(t, 100) / 100.0;
    EXPECT_NEAR(
        decay_of(optimizer, 0),
        0.4 + 0.5 * (0.04 - 0.4) * (1 + std::cos(pi * share)),
        1e-15)
        << t;
    EXPECT_EQ(scheduler.last_epoch(), t);
    scheduler.step();
  }
  EXPECT_EQ(optimizer.param_groups()[0].options().get_lr(), 0.1);
}

TEST(OptionSchedule, MultipliesWhatEachGroupHas) {
  const auto optimizer = two_groups();
  OptionSchedule scheduler(*optimizer, "weight_decay", "linear 4 to 0.5");
  torch::optim::LRScheduler& base = scheduler;
  base.step();
  base.step();
  EXPECT_DOUBLE_EQ(decay_of(*optimizer, 0), 0.03);
  EXPECT_EQ(decay_of(*optimizer, 1), 0);
  // A list has one a group.
  OptionSchedule own(
      *optimizer,
      "weight_decay",
      std::vector<Schedule>{constant(0.5), constant(0.25)},
      ScheduledAs::kValue);
  EXPECT_EQ(decay_of(*optimizer, 0), 0.5);
  EXPECT_EQ(decay_of(*optimizer, 1), 0.25);
}

TEST(OptionSchedule, DrivesBetasAndMomentum) {
  AdamW adamw({leaf({1})}, AdamWOptions(0.1));
  OptionSchedule beta2(
      adamw, "beta2", "linear 2 from 0.9 to 0.99", ScheduledAs::kValue);
  beta2.step();
  const auto& options =
      static_cast<const AdamWOptions&>(adamw.param_groups()[0].options());
  EXPECT_DOUBLE_EQ(std::get<1>(options.betas()), 0.945);
  EXPECT_EQ(std::get<0>(options.betas()), 0.9);

  SGD sgd({leaf({1})}, SGDOptions(0.1).momentum(0.8));
  OptionSchedule momentum(sgd, "momentum", "constant 0.5");
  EXPECT_DOUBLE_EQ(
      static_cast<const SGDOptions&>(sgd.param_groups()[0].options())
          .momentum(),
      0.4);
}

TEST(OptionSchedule, TrainsAsIfTheOptionWereSetByHand) {
  const auto run = [](bool scheduled) {
    auto x = leaf({1, -2, 3});
    AdamW optimizer({x}, AdamWOptions(0.1).weight_decay(0.4));
    ScheduleLR rate(optimizer, "cosine 20");
    std::unique_ptr<OptionSchedule> decay;
    if (scheduled) {
      decay = std::make_unique<OptionSchedule>(
          optimizer, "weight_decay", "linear 16");
    }
    for (int t = 0; t < 20; ++t) {
      if (!scheduled) {
        static_cast<AdamWOptions&>(optimizer.param_groups()[0].options())
            .weight_decay(0.4 * std::max(0.0, (16.0 - t) / 16));
      }
      x.mutable_grad() = x.detach().cos();
      optimizer.step();
      rate.step();
      if (decay) decay->step();
    }
    return x.detach();
  };
  EXPECT_TRUE(torch::equal(run(true), run(false)));
}

TEST(OptionSchedule, LeavesTheOptionAlonePastItsEnd) {
  AdamW optimizer({leaf({1})}, AdamWOptions(0.1).weight_decay(0.4));
  OptionSchedule scheduler(optimizer, "weight_decay", "linear 2 to 0.5");
  for (int t = 0; t < 2; ++t) scheduler.step();
  static_cast<AdamWOptions&>(optimizer.param_groups()[0].options())
      .weight_decay(0.7);
  scheduler.step();
  EXPECT_EQ(decay_of(optimizer, 0), 0.7);
  // A jump does not.
  scheduler.seek(1);
  EXPECT_DOUBLE_EQ(decay_of(optimizer, 0), 0.3);
  EXPECT_THAT(scheduler.values_at(9), ElementsAre(0.2));
  EXPECT_EQ(scheduler.last_epoch(), 1);
}

TEST(OptionSchedule, TakesInAGroupThatComesLater) {
  AdamW optimizer({leaf({1})}, AdamWOptions(0.1).weight_decay(0.4));
  OptionSchedule scheduler(optimizer, "weight_decay", "linear 4");
  scheduler.step();
  OptimizerParamGroup group(
      {leaf({1})},
      std::make_unique<AdamWOptions>(AdamWOptions(0.1).weight_decay(0.8)));
  optimizer.add_param_group(group);
  static_cast<AdamWOptions&>(optimizer.param_groups()[1].options())
      .weight_decay(0.8);
  scheduler.step();
  EXPECT_DOUBLE_EQ(decay_of(optimizer, 0), 0.2);
  EXPECT_DOUBLE_EQ(decay_of(optimizer, 1), 0.4);
}

TEST(OptionSchedule, RefusesWhatItCannotDrive) {
  AdamW adamw({leaf({1})}, AdamWOptions(0.1).weight_decay(0));
  SGD sgd({leaf({1})}, SGDOptions(0.1).momentum(0.5));
  const auto refused = [](torch::optim::Optimizer& optimizer,
                          const std::string& option,
                          const std::string& text) {
    return scheduled_error(
        [&] { OptionSchedule scheduler(optimizer, option, text); });
  };
  EXPECT_THAT(
      refused(adamw, "momentum", "linear 9"),
      HasSubstr("torch::optim::AdamW has no option momentum; it has beta1, "
                "beta2, eps, "
                "weight_decay"));
  EXPECT_THAT(
      refused(adamw, "lr", "linear 9"),
      HasSubstr("lr is the rate, which ScheduleLR drives"));
  EXPECT_THAT(
      refused(sgd, "nesterov", "linear 9"),
      HasSubstr("nesterov of torch::optim::SGD is no number"));
  EXPECT_THAT(
      refused(adamw, "weight_decay", "linear 9"),
      HasSubstr("weight_decay is 0, of which no factor makes another number"));
  EXPECT_THAT(
      scheduled_error(
          [&] { OptionSchedule none(adamw, "eps", std::vector<Schedule>{}); }),
      HasSubstr("one schedule at least"));
  EXPECT_THAT(
      scheduled_error([&] {
        OptionSchedule three(
            adamw, "eps", std::vector<Schedule>(3, constant()));
      }),
      HasSubstr("schedules"));
}

TEST(OptionSchedule, AValueOutOfRangeChangesNothing) {
  std::vector<OptimizerParamGroup> groups;
  groups.emplace_back(
      std::vector<torch::Tensor>{leaf({1})},
      std::make_unique<SGDOptions>(SGDOptions(0.1).momentum(0.5)));
  groups.emplace_back(
      std::vector<torch::Tensor>{leaf({1})},
      std::make_unique<SGDOptions>(SGDOptions(0.1).momentum(0.9)));
  SGD sgd(groups, SGDOptions(0.1));
  // The second group's is 1.08 at t = 2.
  OptionSchedule scheduler(sgd, "momentum", "linear 5 from 1 to 1.5");
  scheduler.step();
  const auto momentum = [&](std::size_t group) {
    return static_cast<const SGDOptions&>(sgd.param_groups()[group].options())
        .momentum();
  };
  EXPECT_THAT(
      scheduled_error([&] { scheduler.step(); }),
      HasSubstr(
          "OptionSchedule: at t = 2: momentum of parameter group 1 must be "
          "in [0, 1), got 1.08"));
  EXPECT_DOUBLE_EQ(momentum(0), 0.55);
  EXPECT_DOUBLE_EQ(momentum(1), 0.99);
  EXPECT_EQ(scheduler.last_epoch(), 1);
}

TEST(OptionSchedule, GoesOnFromAnArchive) {
  const auto first = two_groups();
  OptionSchedule saved(*first, "weight_decay", "linear 8");
  for (int t = 0; t < 3; ++t) saved.step();
  std::stringstream file;
  torch::save(saved, file);
  const auto second = two_groups();
  OptionSchedule loaded(*second, "weight_decay", "linear 8");
  torch::load(loaded, file);
  EXPECT_EQ(decay_of(*second, 0), decay_of(*first, 0));
  saved.step();
  loaded.step();
  EXPECT_EQ(loaded.last_epoch(), 4);
  EXPECT_EQ(decay_of(*second, 0), decay_of(*first, 0));
  EXPECT_DOUBLE_EQ(decay_of(*second, 0), 0.02);
}

TEST(OptionSchedule, TellsOtherOptionsOfAnArchive) {
  const auto first = two_groups();
  OptionSchedule saved(*first, "weight_decay", "linear 8");
  for (int t = 0; t < 4; ++t) saved.step();
  const auto archive_of = [](const OptionSchedule& scheduler) {
    std::stringstream file;
    torch::save(scheduler, file);
    torch::serialize::InputArchive archive;
    archive.load_from(file);
    return archive;
  };
  const auto second = two_groups();
  OptionSchedule other(*second, "weight_decay", "linear 16");
  auto archive = archive_of(saved);
  EXPECT_THAT(
      scheduled_error([&] { other.load(archive); }),
      HasSubstr("schedules[0].schedule is"));
  EXPECT_DOUBLE_EQ(decay_of(*second, 0), 0.04);
  archive = archive_of(saved);
  EXPECT_EQ(other.load(archive, OptionsFrom::kProgram).size(), 1U);
  EXPECT_DOUBLE_EQ(decay_of(*second, 0), 0.03);
  EXPECT_EQ(other.last_epoch(), 4);
  archive = archive_of(saved);
  other.load(archive, OptionsFrom::kFile);
  other.step();
  EXPECT_DOUBLE_EQ(decay_of(*second, 0), 0.015);
  OptionSchedule beta(*second, "beta1", "linear 8");
  archive = archive_of(saved);
  EXPECT_THAT(
      scheduled_error([&] { beta.load(archive, OptionsFrom::kFile); }),
      HasSubstr("of another option than beta1"));
}

}  // namespace
}  // namespace stepsize::test
