#include <stepsize/lr_scheduler/phased_lr.h>

#include <gtest/gtest.h>
#include <stepsize/lr_scheduler/schedule_lr.h>
#include <stepsize/lr_scheduler/usage_check.h>
#include <stepsize/schedule/ramp.h>
#include <torch/torch.h>

#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "tests/lr_scheduler/support/spec.h"
#include "tests/support/archive_bytes.h"
#include "tests/support/error_text.h"
#include "tests/support/numbers.h"

namespace stepsize::test {
namespace {

using Rates = std::vector<double>;

ReduceLROnPlateauOptions half_after(int64_t patience) {
  return ReduceLROnPlateauOptions().factor(0.5).patience(patience);
}

PlateauPhase plateau_of_steps(int64_t steps) {
  return PlateauPhase(half_after(1)).steps(steps);
}

void make_steps(StatefulLR& scheduler, int64_t steps) {
  torch::optim::LRScheduler& base = scheduler;
  for (int64_t i = 0; i < steps; ++i) base.step();
}

// What a ParseError shows below the text, or "".
std::string text_error(
    const std::string& text, const ParseContext& context = {}) {
  try {
    parse_phases(text, context);
  } catch (const ParseError& error) {
    return std::to_string(error.column()) + " " + error.what();
  }
  return "";
}

bool tells(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Everything by hand: 1/4, 1/2, 3/4, then 1 with cuts to 1/2 and 1/4, then a
// line to 0 from there in four steps.
TEST(PhasedLR, WarmsUpCutsAndCoolsDownFromWhatIsLeft) {
  const auto optimizer = make_optimizer("SGD", {0.8, 0.4});
  PhasedLR scheduler(*optimizer, {warmup(3), plateau_of_steps(6), cooldown(4)});
  const Rates factors = {
      .25, .5, .75, 1, 1, .5, .5, .25, .25, .25, .1875, .125, .0625, 0, 0};
  for (std::size_t t = 0; t < factors.size(); ++t) {
    EXPECT_NEAR(lrs_of(*optimizer)[0], .8 * factors[t], 1e-15) << t;
    EXPECT_NEAR(lrs_of(*optimizer)[1], .4 * factors[t], 1e-15) << t;
    EXPECT_EQ(scheduler.get_last_lr(), lrs_of(*optimizer));
    EXPECT_EQ(scheduler.last_epoch(), static_cast<int64_t>(t));
    EXPECT_EQ(scheduler.phase(), t < 3 ? 0U : t < 9 ? 1U : 2U) << t;
    EXPECT_EQ(scheduler.has_ended(), t >= 13) << t;
    make_steps(scheduler, 1);
    // Nothing improves. A first metric is the best one, two more are too many.
    scheduler.observe(1);
  }
}

TEST(PhasedLR, CutsAtOnceAndNotBeforeItsPatience) {
  const auto optimizer = make_optimizer("SGD", {0.8, 0.4});
  PhasedLR scheduler(*optimizer, {PlateauPhase(half_after(1))});
  for (const double metric : {3.0, 2.0, kNaN}) scheduler.observe(metric);
  EXPECT_EQ(scheduler.best(), 2);
  EXPECT_EQ(scheduler.num_bad_epochs(), 1);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.8, .4}));
  scheduler.observe(2);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.4, .2}));
  EXPECT_EQ(scheduler.cuts(), 1);
  EXPECT_EQ(scheduler.last_epoch(), 0);
  make_steps(scheduler, 3);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.4, .2}));
}

TEST(PhasedLR, MetricsOfAWarmUpSayNothing) {
  const auto optimizer = make_optimizer("SGD", {0.8, 0.4});
  PhasedLR scheduler(*optimizer, {warmup(3), PlateauPhase(half_after(0))});
  for (int i = 0; i < 9; ++i) scheduler.observe(1e-9);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.2, .1}));
  make_steps(scheduler, 3);
  EXPECT_TRUE(std::isinf(scheduler.best()));
  scheduler.observe(5);  // worse than all before, and the best here
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.8, .4}));
  EXPECT_EQ(scheduler.best(), 5);
}

// cuts(1): the second plateau begins the cooldown, at once and without a jump.
TEST(PhasedLR, TheMetricEndsAPhaseAfterItsCuts) {
  const auto optimizer = make_optimizer("SGD", {0.8, 0.4});
  PhasedLR scheduler(
      *optimizer, {PlateauPhase(half_after(0)).cuts(1), cooldown(4)});
  scheduler.observe(1);
  make_steps(scheduler, 5);
  scheduler.observe(1);
  EXPECT_EQ(scheduler.cuts(), 1);
  EXPECT_EQ(scheduler.phase(), 0U);
  make_steps(scheduler, 2);
  scheduler.observe(1);
  EXPECT_EQ(scheduler.phase(), 1U);
  EXPECT_EQ(scheduler.phase_start(), 7);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.4, .2}));
  make_steps(scheduler, 1);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.4 * .75, .2 * .75}));
  make_steps(scheduler, 3);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{0, 0}));
}

TEST(PhasedLR, WaitsForAPlateauWithoutACut) {
  const auto optimizer = make_optimizer("SGD", {0.8, 0.4});
  PhasedLR scheduler(
      *optimizer, {PlateauPhase(half_after(0)).cuts(0), cooldown(2)});
  scheduler.observe(1);
  scheduler.observe(1);
  EXPECT_EQ(scheduler.phase(), 1U);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.8, .4}));
}

TEST(PhasedLR, APlateauGoesOnFromTheRateBeforeAndKeepsItsFloor) {
  const auto optimizer = make_optimizer("SGD", {0.8, 0.4});
  PhasedLR scheduler(
      *optimizer,
      {linear(2, 1, 0.5),
       PlateauPhase(half_after(0).min_lr(Rates{0.3, 0.01})).steps(4),
       cooldown(2)});
  make_steps(scheduler, 2);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.4, .2}));
  scheduler.observe(1);
  scheduler.observe(1);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.3, .1}));
  scheduler.observe(1);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.3, .05}));
  make_steps(scheduler, 5);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.15, .025}));
}

TEST(PhasedLR, PhasesOfNoLengthAreLeftOut) {
  const auto optimizer = make_optimizer("SGD", {0.8, 0.4});
  PhasedLR scheduler(
      *optimizer,
      {warmup(0), plateau_of_steps(0), linear(2, 1, 0.5), cooldown(2)});
  EXPECT_EQ(scheduler.phase(), 2U);
  make_steps(scheduler, 1);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.8 * .75, .4 * .75}));
  make_steps(scheduler, 1);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.8, .4}));  // a schedule's own factor
}

TEST(PhasedLR, NextPhaseEndsOneByHand) {
  const auto optimizer = make_optimizer("SGD", {0.8, 0.4});
  PhasedLR scheduler(*optimizer, {plateau_of_steps(100), cooldown(2)});
  make_steps(scheduler, 5);
  scheduler.next_phase();
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.8, .4}));
  make_steps(scheduler, 1);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.4, .2}));
  EXPECT_TRUE(tells(
      message_of([&] { scheduler.next_phase(); }),
      "PhasedLR: next_phase: phase 1 is the last one"));
}

// A step of a warm-up has been played, and the plateau goes on from its rate.
TEST(PhasedLR, NextPhaseInTheFirstStepMakesNoJump) {
  const auto optimizer = make_optimizer("SGD", {0.8, 0.4});
  PhasedLR scheduler(*optimizer, {warmup(3), plateau_of_steps(6), cooldown(4)});
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.2, .1}));
  scheduler.next_phase();
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.2, .1}));
  const std::string bytes = saved(scheduler);
  make_steps(scheduler, 8);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.1, .05}));
  load(scheduler, bytes);
  make_steps(scheduler, 8);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.1, .05}));
}

TEST(PhasedLR, NextPhaseRefusesAPlateauAtZero) {
  const auto optimizer = make_optimizer("SGD", {0.8, 0.4});
  PhasedLR scheduler(*optimizer, {linear(4, 0, 1), plateau_of_steps(6)});
  const std::string before = saved(scheduler);
  EXPECT_TRUE(tells(
      message_of([&] { scheduler.next_phase(); }),
      "PhasedLR: phase 1, a plateau, would begin at 0"));
  EXPECT_EQ(saved(scheduler), before);
  make_steps(scheduler, 1);
  scheduler.next_phase();
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.2, .1}));
}

TEST(PhasedLR, OnceEndedItLeavesTheRatesAlone) {
  const auto optimizer = make_optimizer("SGD", {0.8, 0.4});
  PhasedLR scheduler(*optimizer, {PlateauPhase(half_after(0)).steps(2)});
  make_steps(scheduler, 1);
  optimizer->param_groups()[0].options().set_lr(0.3);
  make_steps(scheduler, 1);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.8, .4}));
  optimizer->param_groups()[0].options().set_lr(0.3);
  make_steps(scheduler, 3);
  for (int i = 0; i < 3; ++i) scheduler.observe(1);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.3, .4}));
}

TEST(PhasedLR, BaseRatesCountFromTheStart) {
  const auto optimizer = make_optimizer("SGD", {0.8, 0.4});
  PhasedLR scheduler(
      *optimizer,
      {PlateauPhase(half_after(0).min_lr(0.25)).steps(5), cooldown(4)});
  scheduler.observe(1);
  scheduler.observe(1);
  make_steps(scheduler, 6);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.4 * .75, .25 * .75}));
  scheduler.set_base_lrs(Rates{1.6, 0.2});
  // 0.2 lies below min_lr already, and no cut raises it.
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.8 * .75, .2 * .75}));
  add_group(*optimizer, "SGD", 3.2);
  make_steps(scheduler, 1);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.4, .1, .8}));
}

const std::function<double(int64_t)> kHilly = [](int64_t i) {
  return std::round((2 + std::cos(0.7 * static_cast<double>(i))) * 8) / 8;
};

// A run of 30 steps with a metric at each.
std::vector<LRPhase> all_kinds() {
  return {
      warmup(4),
      PlateauPhase(half_after(1).cooldown(2).threshold(0.01)).steps(14),
      linear(3, 1, 0.5),
      PlateauPhase(half_after(0)).cuts(2),
      cooldown(5)};
}

TEST(PhasedLR, GoesOnFromAnArchiveAtEveryStep) {
  for (int64_t before = 0; before < 32; ++before) {
    const auto optimizer = make_optimizer("SGD", kLrs);
    PhasedLR scheduler(*optimizer, all_kinds());
    for (int64_t i = 0; i < before; ++i) {
      make_steps(scheduler, 1);
      scheduler.observe(kHilly(i));
    }
    const auto other = make_optimizer("SGD", {1.0, 1.0});
    PhasedLR resumed(*other, all_kinds());
    load(resumed, saved(scheduler));
    for (int64_t i = before; i < before + 48; ++i) {
      ASSERT_EQ(lrs_of(*other), lrs_of(*optimizer)) << before << " " << i;
      ASSERT_EQ(resumed.phase(), scheduler.phase());
      ASSERT_EQ(resumed.best(), scheduler.best());
      ASSERT_EQ(saved(resumed), saved(scheduler));
      for (PhasedLR* one : {&scheduler, &resumed}) {
        make_steps(*one, 1);
        one->observe(kHilly(i));
      }
    }
    ASSERT_TRUE(scheduler.has_ended());
  }
}

TEST(PhasedLR, LoadsIntoOtherOptionsWhereAsked) {
  const auto optimizer = make_optimizer("SGD", {0.8, 0.4});
  PhasedLR scheduler(*optimizer, {plateau_of_steps(6), cooldown(4)});
  for (int i = 0; i < 3; ++i) scheduler.observe(1);
  make_steps(scheduler, 8);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.2, .1}));
  const std::string bytes = saved(scheduler);
  const std::vector<LRPhase> mine = {
      PlateauPhase(half_after(1).factor(0.25)).steps(6), cooldown(8)};
  const auto other = make_optimizer("SGD", {0.1, 0.1});
  PhasedLR resumed(*other, mine);
  const std::string refusal = message_of([&] { load(resumed, bytes); });
  EXPECT_TRUE(tells(refusal, "phases[0].factor is 0.5 in the file, 0.25 here"));
  EXPECT_TRUE(tells(
      refusal, "phases[1].schedule is 'linear 4' in the file, 'linear 8'"))
      << refusal;
  EXPECT_EQ(lrs_of(*other), (Rates{.1, .1}));
  const auto load_from = [&](PhasedLR& into, OptionsFrom from) {
    torch::serialize::InputArchive archive;
    archive.load_from(bytes.data(), bytes.size());
    into.load(archive, from);
  };
  // One cut, then two of eight steps; all by these options.
  load_from(resumed, OptionsFrom::kProgram);
  EXPECT_EQ(lrs_of(*other), (Rates{.8 * .25 * .75, .4 * .25 * .75}));
  load_from(resumed, OptionsFrom::kFile);
  EXPECT_EQ(resumed.describe(), scheduler.describe());
  make_steps(resumed, 1);
  EXPECT_EQ(lrs_of(*other), (Rates{.1, .05}));
  PhasedLR turned(*other, {linear(4, 1, 0.5), plateau_of_steps(6)});
  EXPECT_TRUE(tells(
      message_of([&] { load_from(turned, OptionsFrom::kProgram); }),
      "PhasedLR: phase 0 is a schedule here, and a plateau in the file"));
  EXPECT_EQ(turned.last_epoch(), 0);
}

// A state of 50 steps, of which the last 40 or so were a plateau with a cut, in
// runs whose warm-up is longer and shorter: the plateau began at its end.
TEST(PhasedLR, AWarmUpOfAnotherLengthEndsWhereItEnds) {
  const auto optimizer = make_optimizer("SGD", {0.8, 0.4});
  PhasedLR scheduler(
      *optimizer, {warmup(10), plateau_of_steps(100), cooldown(4)});
  make_steps(scheduler, 50);
  for (int i = 0; i < 3; ++i) scheduler.observe(1);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.4, .2}));
  const std::string bytes = saved(scheduler);
  for (const int64_t length : {0, 5, 20, 40}) {
    const auto other = make_optimizer("SGD", {0.1, 0.1});
    PhasedLR resumed(
        *other, {warmup(length), plateau_of_steps(100), cooldown(4)});
    torch::serialize::InputArchive archive;
    archive.load_from(bytes.data(), bytes.size());
    resumed.load(archive, OptionsFrom::kProgram);
    EXPECT_EQ(lrs_of(*other), (Rates{.4, .2})) << length;
    // The plateau began at t = 10.
    make_steps(resumed, 62);
    EXPECT_EQ(lrs_of(*other), (Rates{.2, .1})) << length;
  }
}

// Ended by hand after 5 steps: of another curve the value at 5 counts.
TEST(PhasedLR, AScheduleThatWasEndedByHandCountsAsFarAsItWasPlayed) {
  const auto optimizer = make_optimizer("SGD", {0.8, 0.4});
  PhasedLR scheduler(*optimizer, {linear(10, 0, 1), plateau_of_steps(100)});
  make_steps(scheduler, 5);
  scheduler.next_phase();
  make_steps(scheduler, 9);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.4, .2}));
  const std::string bytes = saved(scheduler);
  const auto other = make_optimizer("SGD", {0.1, 0.1});
  PhasedLR resumed(*other, {linear(8, 0, 1), plateau_of_steps(100)});
  torch::serialize::InputArchive archive;
  archive.load_from(bytes.data(), bytes.size());
  resumed.load(archive, OptionsFrom::kProgram);
  EXPECT_EQ(lrs_of(*other), (Rates{.8 * .625, .4 * .625}));
}

TEST(PhasedLR, APlateauBeginsAtTheEndOfTheLastPhaseThatIsPlayed) {
  const auto optimizer = make_optimizer("SGD", {0.8, 0.4});
  for (const std::vector<LRPhase>& phases :
       {std::vector<LRPhase>{cooldown(4), warmup(0), PlateauPhase()},
        std::vector<LRPhase>{cooldown(4), plateau_of_steps(0), PlateauPhase()},
        std::vector<LRPhase>{cooldown(4), PlateauPhase().steps(0)}}) {
    EXPECT_TRUE(tells(
        message_of([&] { PhasedLR scheduler(*optimizer, phases); }),
        "a plateau, begins at the rate at which the schedule before it ends, "
        "and that is 0"));
  }
  // Neither is the cooldown played here, nor the plateau there.
  PhasedLR passed(*optimizer, {linear(2, 1, .5), cooldown(0), PlateauPhase()});
  make_steps(passed, 3);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{.4, .2}));
  const auto other = make_optimizer("SGD", {0.8, 0.4});
  PhasedLR none(*other, {cooldown(2), plateau_of_steps(0), warmup(3)});
  make_steps(none, 4);
  EXPECT_EQ(lrs_of(*other), (Rates{.8 * .75, .4 * .75}));
}

TEST(PhasedLR, RefusesWhatCannotBePlayed) {
  const auto optimizer = make_optimizer("SGD", {0.8, 0.4});
  const auto refusal = [&](const std::vector<LRPhase>& phases) {
    const std::string said =
        message_of([&] { PhasedLR scheduler(*optimizer, phases); });
    EXPECT_EQ(lrs_of(*optimizer), (Rates{.8, .4})) << said;
    return said;
  };
  EXPECT_TRUE(tells(refusal({}), "PhasedLR: there must be one phase at least"));
  EXPECT_TRUE(tells(
      refusal({PlateauPhase(), cooldown(4)}),
      "PhasedLR: phase 0 has no end, so that nothing can follow it: "
      "PlateauPhase("));
  EXPECT_TRUE(tells(
      refusal({warmup(1), constant(), PlateauPhase()}),
      "phase 1 has no end, so that nothing can follow it: ScheduleLR("));
  EXPECT_TRUE(tells(
      refusal({cooldown(4), PlateauPhase()}),
      "phase 1, a plateau, begins at the rate at which the schedule before "
      "it ends, and that is 0"));
  EXPECT_TRUE(tells(
      refusal({PlateauPhase(half_after(1).min_lr({.1, .1, .1}))}),
      "min_lr has 3 values, expected 2"));
}

TEST(PhasedLR, ARefusedStepChangesNothing) {
  const auto optimizer = make_optimizer("SGD", {1e308, 0.4});
  PhasedLR scheduler(*optimizer, {linear(2, 1, 9), plateau_of_steps(3)});
  const std::string before = saved(scheduler);
  EXPECT_TRUE(tells(
      message_of([&] { make_steps(scheduler, 1); }),
      "PhasedLR: the rate of parameter group 0 at t = 1 must be finite"));
  EXPECT_EQ(saved(scheduler), before);
  EXPECT_EQ(lrs_of(*optimizer), (Rates{1e308, .4}));
}

TEST(PhasedLR, TellsASecondSchedulerOfItsRates) {
  const auto optimizer = make_optimizer("SGD", {0.8, 0.4});
  PhasedLR scheduler(*optimizer, {warmup(3), PlateauPhase()});
  set_scheduler_usage_check(UsageCheck::kThrow);
  const std::string said =
      message_of([&] { ScheduleLR second(*optimizer, cooldown(3)); });
  optimizer->param_groups()[0].options().set_lr(0.5);
  const std::string overwritten = message_of([&] { make_steps(scheduler, 1); });
  set_scheduler_usage_check(UsageCheck::kWarn);
  EXPECT_TRUE(tells(said, "it is what PhasedLR, in use")) << said;
  EXPECT_TRUE(
      tells(overwritten, "PhasedLR: the rate of parameter group 0 has "))
      << overwritten;
  EXPECT_EQ(scheduler.last_epoch(), 0);
}

// Rates that were set by hand are lost with a cut and with a phase, too.
TEST(PhasedLR, CutsAndPhasesLookForOutsideWrites) {
  const auto optimizer = make_optimizer("SGD", {0.8, 0.4});
  const std::function<void(PhasedLR&)> changes[] = {
      [](PhasedLR& one) { one.observe(1); },
      [](PhasedLR& one) { one.next_phase(); }};
  for (const auto& change : changes) {
    PhasedLR scheduler(
        *optimizer, {PlateauPhase(half_after(0)).steps(9), cooldown(4)});
    make_steps(scheduler, 1);
    scheduler.observe(1);
    const std::string before = saved(scheduler);
    const double was = lrs_of(*optimizer)[0];
    optimizer->param_groups()[0].options().set_lr(0.3);
    set_scheduler_usage_check(UsageCheck::kThrow);
    const std::string said = message_of([&] { change(scheduler); });
    set_scheduler_usage_check(UsageCheck::kWarn);
    EXPECT_TRUE(tells(said, "PhasedLR: the rate of parameter group 0 has been"))
        << said;
    EXPECT_EQ(lrs_of(*optimizer)[0], .3);
    optimizer->param_groups()[0].options().set_lr(was);
    EXPECT_EQ(saved(scheduler), before);
  }
}

TEST(PhasedLR, TextAndCodeAreTheSame) {
  const auto optimizer = make_optimizer("SGD", {0.8, 0.4});
  const auto described = [&](const std::vector<LRPhase>& phases) {
    return PhasedLR(*optimizer, phases).describe();
  };
  const ParseContext run{100, 10000};
  EXPECT_EQ(
      described(parse_phases(
          "warmup 5% > plateau 0.5 patience 3 cooldown 1 max abs threshold "
          "0.01 min_lr 0.001 eps 0 for 60ep cuts 2 > (cosine 100 > linear 50) "
          "* constant 0.5 > cooldown 2000",
          run)),
      described(
          {warmup(500),
           PlateauPhase(half_after(3)
                            .cooldown(1)
                            .mode(MetricMode::kMax)
                            .threshold_mode(ThresholdMode::kAbs)
                            .threshold(0.01)
                            .min_lr(0.001)
                            .eps(0))
               .steps(6000)
               .cuts(2),
           parse("(cosine 100 > linear 50) * constant 0.5 > cooldown 2000")}));
  // What is left of the run after 500 and 7500 steps.
  EXPECT_EQ(
      described(parse_phases("warmup 5% > plateau for 75% > cosine", run)),
      described(
          {warmup(500), PlateauPhase().steps(7500), parse("cosine 2000")}));
  EXPECT_EQ(described(parse_phases("plateau")), described({PlateauPhase()}));
}

TEST(PhasedLR, TextErrorsPointAtTheirColumn) {
  const auto expect_error = [](const std::string& text,
                               const std::string& column,
                               const std::string& said,
                               const ParseContext& context = {}) {
    const std::string error = text_error(text, context);
    EXPECT_EQ(error.substr(0, error.find(' ')), column) << text << error;
    EXPECT_TRUE(tells(error, said)) << error;
  };
  expect_error("plateau 0.5 > cooldown 9", "13", "this plateau has no end");
  expect_error("constant > plateau", "10", "no plateau can follow it");
  expect_error("warmup 5 > plateau 2", "12", "factor must be in [0, 1), got 2");
  expect_error("plateau patience", "17", "expected a number after 'patience'");
  expect_error("plateau patience 1.5", "18", "expected a whole number >= 0");
  expect_error("plateau cuts 1 cuts 2", "16", "'cuts' has been said already");
  expect_error("plateau slow", "9", "unexpected 'slow'; expected patience N");
  expect_error("plateau abs python_rel", "13", "not both");
  expect_error("warmup 5 >", "11", "expected a curve");
  expect_error("plateau for 9 > cosin 5", "17", "did you mean 'cosine'?");
  expect_error("plateau for 5%", "13", "needs the length of the run");
  expect_error(
      "plateau cuts 2 > cosine",
      "24",
      "what is left of the run is not known after a plateau that a metric may "
      "end",
      {0, 100});
  for (const auto& [text, column] :
       {std::pair("(warmup 5 > plateau for 9) > cooldown 3", "13"),
        std::pair("constant 2 * plateau for 9", "14")}) {
    expect_error(
        text, column, "a plateau cannot stand in parentheses or in a product");
  }
  EXPECT_EQ(text_error("plateau cuts 2 > cosine 10"), "");
  try {
    parse("warmup 5 > plateau");
    FAIL() << "a plateau is no curve";
  } catch (const ParseError& error) {
    EXPECT_TRUE(tells(error.what(), "a PhasedLR takes it")) << error.what();
  }
}

}  // namespace
}  // namespace stepsize::test
