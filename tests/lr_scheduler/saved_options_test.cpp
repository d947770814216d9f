// Options in a saved state: compared by name, and taken from either side.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/curvature_lr.h>
#include <stepsize/lr_scheduler/cyclic_lr.h>
#include <stepsize/lr_scheduler/inverse_sqrt_lr.h>
#include <stepsize/lr_scheduler/lambda_lr.h>
#include <stepsize/lr_scheduler/linear_warmup_lr.h>
#include <stepsize/lr_scheduler/reduce_lr_on_plateau.h>
#include <stepsize/lr_scheduler/rule_lr.h>
#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/lr_scheduler/sequential_lr.h>
#include <stepsize/lr_scheduler/step_lr.h>
#include <stepsize/lr_scheduler/warmup_cosine_lr.h>
#include <stepsize/lr_scheduler/warmup_stable_decay_lr.h>
#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <memory>
#include <ostream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "csrc/core/named_options.h"
#include "tests/lr_scheduler/support/spec.h"
#include "tests/support/archive_bytes.h"
#include "tests/support/error_text.h"

namespace stepsize::test {
namespace {

using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> load_with(
    StatefulLR& scheduler, const std::string& bytes, OptionsFrom from) {
  std::istringstream stream(bytes);
  torch::serialize::InputArchive archive;
  archive.load_from(stream);
  return scheduler.load(archive, from);
}

// One class with other options in the file than here, and what is said of it.
struct Pair {
  const char* saved;
  const char* here;
  const char* says;
};

constexpr Pair kPairs[] = {
    {"StepLR(step_size=20)",
     "StepLR(step_size=35)",
     "StepLR: step_size is 20 in the file, 35 here"},
    {"MultiStepLR(milestones=[9, 20])",
     "MultiStepLR(milestones=[9, 30], gamma=0.5)",
     "MultiStepLR: milestones is [9, 20] in the file, [9, 30] here; gamma is "
     "0.1 in the file, 0.5 here"},
    {"ConstantLR(total_iters=24)",
     "ConstantLR(total_iters=24, factor=0.5)",
     "ConstantLR: factor is 0.3333333333333333 in the file, 0.5 here"},
    {"LinearLR(total_iters=24)",
     "LinearLR(total_iters=30, end_factor=0.5)",
     "LinearLR: end_factor is 1 in the file, 0.5 here; total_iters is 24 in "
     "the file, 30 here"},
    {"ExponentialLR(gamma=0.9)",
     "ExponentialLR(gamma=0.8)",
     "ExponentialLR: gamma is 0.9 in the file, 0.8 here"},
    {"PolynomialLR(total_iters=36, power=2)",
     "PolynomialLR(total_iters=36)",
     "PolynomialLR: power is 2 in the file, 1 here"},
    {"CosineAnnealingLR(T_max=40, eta_min=0.001)",
     "CosineAnnealingLR(T_max=50)",
     "CosineAnnealingLR: T_max is 40 in the file, 50 here; eta_min is 0.001 "
     "in the file, 0 here"},
    {"CosineAnnealingWarmRestarts(T_0=6, T_mult=2)",
     "CosineAnnealingWarmRestarts(T_0=6)",
     "CosineAnnealingWarmRestarts: T_mult is 2 in the file, 1 here"},
    {"CyclicLR(base_lr=0.01, max_lr=[0.1, 0.2], step_size_up=8)",
     "CyclicLR(base_lr=0.01, max_lr=0.1, step_size_up=9, mode=exp_range, "
     "gamma=0.9)",
     "CyclicLR: max_lr is [0.1, 0.2] in the file, 0.1 here; step_size_up is 8 "
     "in the file, 9 here; step_size_down is 8 in the file, 9 here; mode is "
     "triangular in the file, exp_range here; gamma is 1 in the file, which is "
     "older than it, 0.9 here"},
    {"OneCycleLR(max_lr=[0.1, 0.2], total_steps=43)",
     "OneCycleLR(max_lr=[0.1, 0.2], total_steps=50)",
     "OneCycleLR: total_steps is 43 in the file, 50 here"},
    {"SequentialLR(schedulers=[LinearLR(total_iters=8), "
     "PolynomialLR(total_iters=20)], milestones=[8])",
     "SequentialLR(schedulers=[LinearLR(total_iters=9), "
     "ExponentialLR(gamma=0.9)], milestones=[9])",
     "SequentialLR: schedulers[0].total_iters is 8 in the file, 9 here; "
     "schedulers[1] is a PolynomialLR in the file, an ExponentialLR here; "
     "milestones is [8] in the file, [9] here"},
    {"ChainedScheduler(schedulers=[LinearLR(total_iters=8), "
     "SequentialLR(schedulers=[StepLR(step_size=3), StepLR(step_size=4)], "
     "milestones=[5])])",
     "ChainedScheduler(schedulers=[LinearLR(total_iters=8), "
     "SequentialLR(schedulers=[StepLR(step_size=3), StepLR(step_size=5)], "
     "milestones=[5]), ConstantLR()])",
     "ChainedScheduler: schedulers has 2 entries in the file, 3 here; "
     "schedulers[1].schedulers[1].step_size is 4 in the file, 5 here"},
    {"SWALR(swa_lr=0.05, anneal_epochs=30)",
     "SWALR(swa_lr=0.05, anneal_epochs=30, anneal_strategy=linear)",
     "SWALR: anneal_strategy is cos in the file, linear here"},
    {"LinearWarmupLR(warmup_steps=24)",
     "LinearWarmupLR(warmup_steps=30)",
     "LinearWarmupLR: warmup_steps is 24 in the file, 30 here"},
    {"WarmupCosineLR(warmup_steps=9, total_steps=48, eta_min=0.001)",
     "WarmupCosineLR(warmup_steps=9, total_steps=60)",
     "WarmupCosineLR: total_steps is 48 in the file, 60 here; eta_min is "
     "0.001 in the file, 0 here"},
    {"InverseTimeLR(decay_rate=0.5, decay_steps=4, staircase=True)",
     "InverseTimeLR(decay_rate=0.5, decay_steps=4)",
     "InverseTimeLR: staircase is true in the file, false here"},
    {"InverseSqrtLR(warmup_steps=10)",
     "InverseSqrtLR(warmup_steps=20)",
     "InverseSqrtLR: warmup_steps is 10 in the file, 20 here"},
    {"WarmupStableDecayLR(warmup_steps=8, stable_steps=10, decay_steps=12)",
     "WarmupStableDecayLR(warmup_steps=8, stable_steps=20, decay_steps=12, "
     "floor=0.1)",
     "WarmupStableDecayLR: stable_steps is 10 in the file, 20 here; floor is 0 "
     "in the file, 0.1 here"},
};

std::ostream& operator<<(std::ostream& stream, const Pair& pair) {
  return stream << pair.saved << " and " << pair.here;
}

class SavedOptions : public testing::TestWithParam<Pair> {
 protected:
  // A run of 13 steps, and the scheduler that is to take its state.
  SavedOptions()
      : optimizer(make_optimizer("SGD", kLrs)),
        scheduler(recipe_of(GetParam().saved).make(*optimizer)),
        other(make_optimizer("SGD", {0.4, 0.5})),
        resumed(recipe_of(GetParam().here).make(*other)) {
    for (int i = 0; i < 13; ++i) scheduler->step();
    resumed->step();
  }

  std::unique_ptr<torch::optim::Optimizer> optimizer;
  std::unique_ptr<StatefulLR> scheduler;
  std::unique_ptr<torch::optim::Optimizer> other;
  std::unique_ptr<StatefulLR> resumed;
};

TEST_P(SavedOptions, EachThatDiffersIsNamed) {
  const std::string before = saved(*resumed);
  const auto lrs = lrs_of(*other);
  EXPECT_EQ(
      message_of([&] { load(*resumed, saved(*scheduler)); }), GetParam().says);
  EXPECT_TRUE(saved(*resumed) == before);
  EXPECT_EQ(lrs_of(*other), lrs);
}

// As if this program's schedule had run from the start, from the file's bases.
TEST_P(SavedOptions, ThoseOfTheProgramMayHold) {
  const auto differences =
      load_with(*resumed, saved(*scheduler), OptionsFrom::kProgram);
  EXPECT_FALSE(differences.empty());
  EXPECT_EQ(resumed->last_epoch(), 13);
  const auto third = make_optimizer("SGD", kLrs);
  const auto expected = recipe_of(GetParam().here).make(*third);
  EXPECT_EQ(resumed->describe(), expected->describe());
  for (int i = 0; i < 13; ++i) expected->step();
  for (int i = 0; i < 60; ++i) {
    ASSERT_EQ(lrs_of(*other), lrs_of(*third)) << i;
    ASSERT_EQ(momenta_of(*other), momenta_of(*third)) << i;
    resumed->step();
    expected->step();
  }
}

TEST_P(SavedOptions, ThoseOfTheFileMayHold) {
  load_with(*resumed, saved(*scheduler), OptionsFrom::kFile);
  EXPECT_EQ(resumed->describe(), scheduler->describe());
  EXPECT_TRUE(saved(*resumed) == saved(*scheduler));
  for (int i = 0; i < 60; ++i) {
    ASSERT_EQ(lrs_of(*other), lrs_of(*optimizer)) << i;
    ASSERT_EQ(momenta_of(*other), momenta_of(*optimizer)) << i;
    resumed->step();
    scheduler->step();
  }
  // What it saves now loads again by the same options.
  load(*resumed, saved(*scheduler));
}

TEST_P(SavedOptions, KeepOptionsPutsThemBack) {
  const std::string before = saved(*resumed);
  const auto put_back = resumed->keep_options();
  load_with(*resumed, saved(*scheduler), OptionsFrom::kFile);
  put_back();
  load(*resumed, before);
  EXPECT_TRUE(saved(*resumed) == before);
  const auto third = make_optimizer("SGD", {0.4, 0.5});
  const auto expected = recipe_of(GetParam().here).make(*third);
  expected->step();
  for (int i = 0; i < 40; ++i) {
    ASSERT_EQ(lrs_of(*other), lrs_of(*third)) << i;
    resumed->step();
    expected->step();
  }
}

INSTANTIATE_TEST_SUITE_P(
    All,
    SavedOptions,
    testing::ValuesIn(kPairs),
    [](const testing::TestParamInfo<Pair>& row) {
      const std::string text = row.param.saved;
      return text.substr(0, text.find('('));
    });

// Those that a description has only where they are set, and the words.
TEST(SavedOptions, ThatMayNotBeSet) {
  const LRRule plain = LinearWarmupLROptions(24);
  const LRRule set = LinearWarmupLROptions(24).start_factor(0.5);
  const LRRule both = WarmupCosineLROptions(9, 48).start_factor(0.25);
  const LRRule none = WarmupCosineLROptions(9, 48);
  const LRRule later = InverseSqrtLROptions(9).start_factor(0.25);
  const LRRule sooner = InverseSqrtLROptions(9);
  const LRRule line = WarmupStableDecayLROptions(8, 10, 12);
  const LRRule root = WarmupStableDecayLROptions(8, 10, 12).cooldown_shape(
      CooldownShape::kSqrt);
  struct Row {
    LRRule saved;
    LRRule here;
    std::string says;
  };
  for (const Row& row :
       {Row{plain, set, "start_factor is not set in the file, 0.5 here"},
        Row{set, plain, "start_factor is 0.5 in the file, not set here"},
        Row{both, none, "start_factor is 0.25 in the file, not set here"},
        Row{later, sooner, "start_factor is 0.25 in the file, not set here"},
        Row{line, root, "cooldown_shape is linear in the file, sqrt here"},
        Row{root, line, "cooldown_shape is sqrt in the file, linear here"}}) {
    const auto optimizer = make_optimizer("SGD", kLrs);
    const RuleLR scheduler(*optimizer, row.saved);
    const auto other = make_optimizer("SGD", kLrs);
    RuleLR resumed(*other, row.here);
    EXPECT_THAT(
        load_with(resumed, saved(scheduler), OptionsFrom::kFile),
        ElementsAre(row.says));
    EXPECT_EQ(resumed.describe(), scheduler.describe());
    EXPECT_EQ(resumed.lr_at(5), scheduler.lr_at(5));
  }
}

TEST(SavedOptions, OfASchedulesTextThePartIsNamed) {
  const auto optimizer = make_optimizer("SGD", kLrs);
  const auto difference = [&](const char* there, const char* here) {
    const ScheduleLR scheduler(*optimizer, there);
    const auto other = make_optimizer("SGD", kLrs);
    ScheduleLR resumed(*other, here);
    return message_of([&] { load(resumed, saved(scheduler)); });
  };
  EXPECT_EQ(
      difference(
          "warmup 5 > cosine 200 to 0.1", "warmup 5 > cosine 350 to 0.1"),
      "ScheduleLR: part 2 of 2 of schedule is 'cosine 200 to 0.1' in the file, "
      "'cosine 350 to 0.1' here");
  EXPECT_EQ(
      difference("cosine 200", "warmup 5 > cosine 195"),
      "ScheduleLR: schedule is 'cosine 200' in the file, 'warmup 5 > cosine "
      "195' here");
}

TEST(SavedOptions, OfASchedulesTextMayBeTheFiles) {
  const auto optimizer = make_optimizer("SGD", kLrs);
  ScheduleLR scheduler(
      *optimizer, "warmup 5 > (cosine 20 to 0.1) * noise 0.05");
  for (int i = 0; i < 9; ++i) scheduler.step();
  const auto other = make_optimizer("SGD", {1, 1});
  ScheduleLR resumed(*other, "linear 50");
  load_with(resumed, saved(scheduler), OptionsFrom::kFile);
  EXPECT_EQ(resumed.schedule(), scheduler.schedule());
  for (int i = 0; i < 30; ++i) {
    ASSERT_EQ(lrs_of(*other), lrs_of(*optimizer));
    resumed.step();
    scheduler.step();
  }
}

// By hand: two in place of twelve thousand steps.
TEST(SavedOptions, ALongerStepFromTheMiddleOfARun) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  StepLR scheduler(*optimizer, StepLROptions(200));
  scheduler.seek(250);
  EXPECT_DOUBLE_EQ(lrs_of(*optimizer)[0], 0.01);
  StepLR longer(*optimizer, StepLROptions(350));
  const std::string bytes = saved(scheduler);
  EXPECT_EQ(
      message_of([&] { load(longer, bytes); }),
      "StepLR: step_size is 200 in the file, 350 here");
  EXPECT_THAT(
      load_with(longer, bytes, OptionsFrom::kProgram),
      ElementsAre("step_size is 200 in the file, 350 here"));
  EXPECT_DOUBLE_EQ(lrs_of(*optimizer)[0], 0.1);
  longer.seek(350);
  EXPECT_DOUBLE_EQ(lrs_of(*optimizer)[0], 0.01);
}

TEST(SavedOptions, OfAScheduleAGroupMayBeTheFiles) {
  const auto optimizer = make_optimizer("SGD", kLrs);
  ASSERT_EQ(kLrs.size(), 2U);
  ScheduleLR scheduler(*optimizer, {"linear 40", "constant 0.5"});
  for (int i = 0; i < 9; ++i) scheduler.step();
  const auto other = make_optimizer("SGD", {1, 1});
  ScheduleLR resumed(*other, {"linear 40", "constant 0.25"});
  EXPECT_THAT(
      message_of([&] { load(resumed, saved(scheduler)); }),
      HasSubstr("schedules[1].schedule is "));
  load_with(resumed, saved(scheduler), OptionsFrom::kFile);
  EXPECT_EQ(lrs_of(*other), lrs_of(*optimizer));
  EXPECT_EQ(resumed.schedule(1).to_string(), "constant 0.5");
  EXPECT_EQ(resumed.describe(), scheduler.describe());
}

// Where nothing differs, what extend() made of the schedule is the state's.
TEST(SavedOptions, WhereNoneDiffersAllThreeAreTheSame) {
  const auto optimizer = make_optimizer("SGD", kLrs);
  const auto scheduler =
      recipe_of("CosineAnnealingLR(T_max=40)").make(*optimizer);
  for (int i = 0; i < 13; ++i) scheduler->step();
  dynamic_cast<RuleLR&>(*scheduler).extend(80);
  for (const OptionsFrom from :
       {OptionsFrom::kMustAgree, OptionsFrom::kProgram, OptionsFrom::kFile}) {
    const auto other = make_optimizer("SGD", {1, 1});
    const auto resumed = recipe_of("CosineAnnealingLR(T_max=40)").make(*other);
    EXPECT_THAT(load_with(*resumed, saved(*scheduler), from), IsEmpty());
    EXPECT_TRUE(saved(*resumed) == saved(*scheduler));
  }
}

TEST(SavedOptions, ACooldownIsLeftWithTheFilesSchedule) {
  const auto optimizer = make_optimizer("SGD", {0.1});
  WarmupStableDecayLR scheduler(
      *optimizer, WarmupStableDecayLROptions(0, 100, 10));
  for (int i = 0; i < 20; ++i) scheduler.step();
  scheduler.begin_cooldown(10);
  for (int i = 0; i < 5; ++i) scheduler.step();
  EXPECT_DOUBLE_EQ(lrs_of(*optimizer)[0], 0.05);
  const auto other = make_optimizer("SGD", {1});
  WarmupStableDecayLR longer(*other, WarmupStableDecayLROptions(0, 200, 10));
  load_with(longer, saved(scheduler), OptionsFrom::kProgram);
  EXPECT_DOUBLE_EQ(lrs_of(*other)[0], 0.1);
  EXPECT_DOUBLE_EQ(longer.lr_at(205)[0], 0.05);
  WarmupStableDecayLR same(*other, WarmupStableDecayLROptions(0, 200, 10));
  load_with(same, saved(scheduler), OptionsFrom::kFile);
  EXPECT_DOUBLE_EQ(lrs_of(*other)[0], 0.05);
  for (int i = 0; i < 5; ++i) same.step();
  EXPECT_EQ(lrs_of(*other)[0], 0);
}

// Callables cannot stand in a file: those at the same place hold.
TEST(SavedOptions, CallablesAreTheProgramsOrRefused) {
  const auto half = [](double) { return 0.5; };
  const auto optimizer = make_optimizer("SGD", kLrs);
  RuleLR scheduler(
      *optimizer,
      SequentialLROptions({LambdaLROptions(half), StepLROptions(3)}, {4}));
  for (int i = 0; i < 2; ++i) scheduler.step();
  const auto other = make_optimizer("SGD", {1, 1});
  RuleLR resumed(
      *other,
      SequentialLROptions({LambdaLROptions(half), StepLROptions(5)}, {4}));
  EXPECT_THAT(
      load_with(resumed, saved(scheduler), OptionsFrom::kFile),
      ElementsAre("schedulers[1].step_size is 3 in the file, 5 here"));
  EXPECT_EQ(resumed.lr_at(8)[0], scheduler.lr_at(8)[0]);

  RuleLR without(
      *other, SequentialLROptions({StepLROptions(9), StepLROptions(5)}, {4}));
  const std::string before = saved(without);
  EXPECT_THAT(
      message_of(
          [&] { load_with(without, saved(scheduler), OptionsFrom::kFile); }),
      HasSubstr("LambdaLR: it cannot be taken from a file"));
  EXPECT_TRUE(saved(without) == before);

  CyclicLR own(
      *optimizer,
      CyclicLROptions(0.01, 0.1).scale_fn(half).cycle_momentum(false));
  CyclicLR plain(*other, CyclicLROptions(0.01, 0.1).cycle_momentum(false));
  EXPECT_EQ(
      message_of([&] { load_with(plain, saved(own), OptionsFrom::kFile); }),
      "CyclicLR: scale_fn of the file, callable, cannot be taken from there");
  const ScheduleLR curve(*optimizer, callable(half));
  ScheduleLR text(*other, "cosine 9");
  EXPECT_EQ(
      message_of([&] { load_with(text, saved(curve), OptionsFrom::kFile); }),
      "ScheduleLR: schedule of the file, callable, cannot be taken from there");
}

TEST(SavedOptions, OfAPlateau) {
  const auto optimizer = make_optimizer("SGD", {0.8});
  ReduceLROnPlateau scheduler(
      *optimizer, ReduceLROnPlateauOptions().patience(5).factor(0.5));
  for (const double metric : {1.0, 2.0, 2.0, 2.0}) scheduler.step(metric);
  const std::string bytes = saved(scheduler);
  const auto other = make_optimizer("SGD", {0.1});
  ReduceLROnPlateau resumed(
      *other, ReduceLROnPlateauOptions().patience(1).factor(0.25));
  EXPECT_EQ(
      message_of([&] { load(resumed, bytes); }),
      "ReduceLROnPlateau: factor is 0.5 in the file, 0.25 here; patience is 5 "
      "in the file, 1 here");
  load_with(resumed, bytes, OptionsFrom::kProgram);
  EXPECT_EQ(resumed.best(), 1.0);
  EXPECT_EQ(resumed.num_bad_epochs(), 1);  // of 3 no more than its patience
  resumed.step(2.0);
  EXPECT_DOUBLE_EQ(lrs_of(*other)[0], 0.2);
  load_with(resumed, bytes, OptionsFrom::kFile);
  EXPECT_EQ(resumed.describe(), scheduler.describe());
  EXPECT_EQ(resumed.num_bad_epochs(), 3);
  for (int i = 0; i < 3; ++i) resumed.step(2.0);
  EXPECT_DOUBLE_EQ(lrs_of(*other)[0], 0.4);
  ReduceLROnPlateau rising(
      *other, ReduceLROnPlateauOptions().mode(MetricMode::kMax));
  const std::string before = saved(rising);
  EXPECT_THAT(
      message_of([&] { load_with(rising, bytes, OptionsFrom::kProgram); }),
      HasSubstr("mode is another in the file"));
  EXPECT_TRUE(saved(rising) == before);
}

TEST(SavedOptions, OfCurvatureLR) {
  const auto run = [](double factor) {
    struct Run {
      torch::Tensor weight;
      std::unique_ptr<torch::optim::SGD> optimizer;
      std::unique_ptr<CurvatureLR> scheduler;
    };
    Run made{torch::ones({2}, torch::requires_grad()), nullptr, nullptr};
    made.optimizer = std::make_unique<torch::optim::SGD>(
        std::vector<torch::Tensor>{made.weight}, torch::optim::SGDOptions(0.1));
    made.scheduler = std::make_unique<CurvatureLR>(
        *made.optimizer, CurvatureLROptions().factor(factor));
    return made;
  };
  auto one = run(1);
  one.scheduler->observe((one.weight * one.weight).sum());
  one.scheduler->step();
  const std::string bytes = saved(*one.scheduler);
  auto half = run(0.5);
  EXPECT_EQ(
      message_of([&] { load(*half.scheduler, bytes); }),
      "CurvatureLR: factor is 1 in the file, 0.5 here");
  load_with(*half.scheduler, bytes, OptionsFrom::kProgram);
  EXPECT_DOUBLE_EQ(lrs_of(*half.optimizer)[0], 0.5 * lrs_of(*one.optimizer)[0]);
  auto other = run(0.5);
  load_with(*other.scheduler, bytes, OptionsFrom::kFile);
  EXPECT_TRUE(saved(*other.scheduler) == bytes);
  other.scheduler->step();
  one.scheduler->step();
  EXPECT_EQ(lrs_of(*other.optimizer), lrs_of(*one.optimizer));
}

// A state of StepLR by hand; without `options` it is as 0.1 has written it.
std::string by_hand(
    const std::string& fingerprint, const detail::NamedOptions* options) {
  torch::serialize::OutputArchive archive;
  archive.write("stepsize_lr_format", c10::IValue(int64_t{1}));
  archive.write("kind", c10::IValue("StepLR"));
  archive.write("fingerprint", c10::IValue(fingerprint));
  archive.write("state_class", c10::IValue("RuleLR"));
  archive.write("last_epoch", c10::IValue(int64_t{9}));
  archive.write("lrs", c10::IValue(std::vector<double>{0.02, 0.003}));
  archive.write("started", c10::IValue(int64_t{1}));
  archive.write("bound_groups", c10::IValue(int64_t{2}));
  archive.write("base_lrs", c10::IValue(std::vector<double>{0.2, 0.03}));
  for (const char* key : {"base_momenta", "momenta", "knots"}) {
    archive.write(key, c10::IValue(std::vector<double>{}));
  }
  if (options != nullptr) {
    torch::serialize::OutputArchive list(archive.compilation_unit());
    options->write(list);
    archive.write("option_list", list);
  }
  std::ostringstream stream;
  archive.save_to(stream);
  return stream.str();
}

TEST(SavedOptions, AFileOfTheFirstVersionLoads) {
  const auto optimizer = make_optimizer("SGD", kLrs);
  StepLR scheduler(*optimizer, StepLROptions(7));
  load(scheduler, by_hand("StepLR(step_size=7, gamma=0.1)", nullptr));
  EXPECT_EQ(scheduler.last_epoch(), 9);
  EXPECT_EQ(lrs_of(*optimizer), std::vector<double>({0.02, 0.003}));
  scheduler.step();
  EXPECT_DOUBLE_EQ(lrs_of(*optimizer)[0], 0.02);
  StepLR other(*optimizer, StepLROptions(8));
  EXPECT_EQ(
      message_of([&] {
        load(other, by_hand("StepLR(step_size=7, gamma=0.1)", nullptr));
      }),
      "StepLR: step_size is 7 in the file, 8 here");
}

// An option that a file knows nothing of is what it was before there was one.
TEST(SavedOptions, AFileWithoutAnOptionLoads) {
  const auto optimizer = make_optimizer("SGD", kLrs);
  detail::NamedOptions list("StepLR");
  list.add("step_size", "7");
  for (const std::string& bytes :
       {by_hand("", &list), by_hand("StepLR(step_size=7)", nullptr)}) {
    StepLR scheduler(*optimizer, StepLROptions(7));
    load(scheduler, bytes);
    EXPECT_EQ(scheduler.last_epoch(), 9);
    StepLR other(*optimizer, StepLROptions(7).gamma(0.5));
    EXPECT_EQ(
        message_of([&] { load(other, bytes); }),
        "StepLR: gamma is 0.1 in the file, which is older than it, 0.5 here");
    load_with(other, bytes, OptionsFrom::kFile);
    EXPECT_EQ(other.describe(), "StepLR(step_size=7, gamma=0.1)");
  }
}

TEST(SavedOptions, AFileOfALaterVersionIsRefusedByName) {
  const auto optimizer = make_optimizer("SGD", kLrs);
  StepLR scheduler(*optimizer, StepLROptions(7));
  detail::NamedOptions list("StepLR");
  list.add("step_size", "7");
  list.add("gamma", "0.1");
  list.add("floor", "0.5");
  const std::string bytes = by_hand("", &list);
  EXPECT_EQ(
      message_of([&] { load(scheduler, bytes); }),
      "StepLR: floor is 0.5 in the file, not set here");
  EXPECT_THAT(
      message_of([&] { load_with(scheduler, bytes, OptionsFrom::kFile); }),
      HasSubstr("StepLR: cannot be taken from the file: floor is 0.5"));
  EXPECT_EQ(scheduler.last_epoch(), 0);
}

TEST(SavedOptions, ValuesThatAreNoneAreRefused) {
  const auto optimizer = make_optimizer("SGD", kLrs);
  StepLR scheduler(*optimizer, StepLROptions(7));
  for (const char* value : {"", "seven", "7.5", "-7", "[7]"}) {
    detail::NamedOptions list("StepLR");
    list.add("step_size", value);
    EXPECT_NE(
        message_of([&] {
          load_with(scheduler, by_hand("", &list), OptionsFrom::kFile);
        }),
        "");
    EXPECT_EQ(scheduler.describe(), "StepLR(step_size=7, gamma=0.1)");
    EXPECT_EQ(scheduler.last_epoch(), 0);
  }
}

TEST(NamedOptions, ReadsItsOwnText) {
  for (const Pair& pair : kPairs) {
    const std::string text = recipe_of(pair.saved).rule->describe();
    EXPECT_EQ(detail::NamedOptions::parse(text).text(), text);
  }
  for (const char* text :
       {"ScheduleLR(warmup 5 > (cosine 20 to 0.1) * noise 0.05)",
        "LambdaLR(lr_lambda=[callable, callable])",
        "CurvatureLR(factor=[1, 2], schedule=piecewise 0:1 9:0, seed=0)"}) {
    EXPECT_EQ(detail::NamedOptions::parse(text).text(), text);
  }
  std::string deep = "A()";
  for (int i = 0; i < 3000; ++i) deep = "A(b=[" + deep + "])";
  EXPECT_EQ(detail::NamedOptions::parse(deep).text(), deep);
  // Whatever it is, it is read without harm.
  for (const char* text :
       {"",
        "(",
        ")",
        "A(",
        "A)",
        "A(()",
        "A(b=[)",
        "A(b=,)",
        "A(=)",
        "A(,)",
        "A(b=[C(,])"}) {
    detail::NamedOptions::parse(text);
  }
}

}  // namespace
}  // namespace stepsize::test
