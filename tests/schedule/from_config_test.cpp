#include <stepsize/schedule/from_config.h>

#include <stepsize/schedule/lint.h>
#include <stepsize/schedule/parse.h>

#include "tests/schedule/goldens.h"
#include "tests/schedule/refusal.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <set>
#include <string>
#include <vector>

namespace stepsize {
namespace {

using testing::is_refused;

std::vector<test::ScheduleGolden> config_goldens() {
  return test::read_schedule_goldens(
      std::string(STEPSIZE_SCHEDULE_GOLDENS) + "/configs.txt");
}

ParseContext run_of(double length) {
  ParseContext context;
  context.run_length = length;
  return context;
}

TEST(FromConfig, GivesTheirRateInEveryUpdate) {
  const auto goldens = config_goldens();
  ASSERT_GE(goldens.size(), 80U);
  for (const test::ScheduleGolden& golden : goldens) {
    const ConfiguredSchedule configured =
        from_config(golden.call, run_of(golden.run));
    const double base = configured.lr.value_or(golden.base);
    ASSERT_GE(golden.rates.size(), 50U) << golden.call;
    for (std::size_t i = 0; i < golden.rates.size(); ++i) {
      const double t = static_cast<double>(i) * golden.every;
      const double theirs = golden.rates[i];
      // 1 + cos loses digits where it is small: 1e-16 of the peak.
      ASSERT_NEAR(
          base * configured.schedule(t), theirs, 1e-12 * theirs + 3e-16 * base)
          << golden.call << "\nis not " << configured.schedule.to_string()
          << " at update " << t;
    }
  }
}

// One that stops in the warm-up says nothing of what comes after it.
TEST(FromConfig, IsComparedUpToItsEnd) {
  for (const test::ScheduleGolden& golden : config_goldens()) {
    double length =
        from_config(golden.call, run_of(golden.run)).schedule.length();
    // A run may end within a stair.
    if (golden.run > 0) length = std::min(length, golden.run);
    const std::size_t last = golden.rates.size() - 1;
    if (std::isfinite(length)) {
      EXPECT_GE(
          static_cast<double>(last + 1) * golden.every, std::floor(length))
          << golden.call;
    } else {
      EXPECT_LE(golden.rates[last], golden.rates[last - 1]) << golden.call;
    }
  }
}

TEST(FromConfig, MakesSchedulesThatPrint) {
  for (const test::ScheduleGolden& golden : config_goldens()) {
    const Schedule schedule =
        from_config(golden.call, run_of(golden.run)).schedule;
    EXPECT_EQ(parse(schedule.to_string()), schedule) << golden.call << "\n"
                                                     << schedule.to_string();
  }
}

// A configuration is written in quotes of one kind, as Python prints it.
std::string json(std::string text) {
  for (char& c : text) {
    if (c == '\'') c = '"';
  }
  return text;
}

std::string text_of(const std::string& config, double run = 0) {
  return from_config(json(config), run_of(run)).schedule.to_string();
}

struct Worded {
  const char* config;
  const char* text;
};

TEST(FromConfig, PrintsInWordsOfOurs) {
  const Worded rows[] = {
      {"{'lr_scheduler_type': 'linear', 'warmup_ratio': 0.03, 'max_steps': "
       "1010}",
       "warmup 31 from 0 > linear 979"},
      {"{'lr_scheduler_type': 'cosine', 'max_steps': 100}", "cosine 100"},
      {"{'lr_scheduler_type': 'cosine', 'warmup_steps': 10, 'max_steps': 100, "
       "'lr_scheduler_kwargs': {'num_cycles': 2}}",
       "warmup 10 from 0 > (cosine 22.5 > warmup 22.5 cosine from 0) repeat "
       "for 90"},
      {"{'lr_scheduler_type': 'cosine_with_min_lr', 'learning_rate': 0.1, "
       "'lr_scheduler_kwargs': {'min_lr': 0.01}, 'num_warmup_steps': 10, "
       "'num_training_steps': 100}",
       "warmup 10 from 0 > cosine 90 to 0.09999999999999999"},
      {"{'lr_scheduler_type': 'warmup_stable_decay', 'warmup_steps': 10, "
       "'lr_scheduler_kwargs': {'num_decay_steps': 20}, 'max_steps': 100}",
       "warmup 10 from 0 > constant 1 for 70 > cosine 20"},
      {"{'type': 'WarmupDecayLR', 'params': {'total_num_steps': 10000}}",
       "constant 0 for 1 > warmup 999 logarithmic from 0 > constant 1 for 1 > "
       "linear 9000"},
      {"{'type': 'OneCycle', 'params': {'cycle_min_lr': 0.25, "
       "'cycle_max_lr': 1, 'cycle_first_step_size': 100, "
       "'cycle_first_stair_count': 10, 'decay_step_size': 50, 'decay_lr_rate': "
       "0.5}}",
       "warmup 100 from 0.25 stairs 10 > linear 100 to 0.25 stairs 10 shift -9 "
       "for 100 > constant 0.25 * inverse_time 0.5 every 50"},
      {"{'lr_decay_style': 'WSD', 'lr': 1, 'min_lr': 0.125, 'train_iters': "
       "1000, 'lr_wsd_decay_iters': 200, 'lr-warmup-iters': 50}",
       "warmup 50 from 0 > constant 1 for 750 > cooldown 200 half_life to "
       "0.125"},
  };
  for (const Worded& row : rows) {
    EXPECT_EQ(text_of(row.config), row.text) << row.config;
  }
}

TEST(FromConfig, TakesTheLengthThatTheConfigurationLeavesOpen) {
  EXPECT_EQ(
      text_of("{'lr_scheduler_type': 'linear', 'max_steps': -1}", 50),
      "linear 50");
  EXPECT_EQ(
      text_of("{'lr_scheduler_type': 'linear', 'max_steps': null}", 50),
      "linear 50");
  EXPECT_EQ(
      text_of("{'lr_scheduler_type': 'linear', 'max_steps': 40}", 50),
      "linear 40");
  EXPECT_EQ(text_of("{'lr': 1, 'lr_decay_style': 'linear'}", 50), "linear 50");
  EXPECT_EQ(
      text_of("{'type': 'LRRangeTest', 'params': {}}", 1000),
      "linear 1000 to 1.5");
  // Where none is wanted, none is asked for.
  EXPECT_EQ(
      text_of("{'lr_scheduler_type': 'constant_with_warmup', "
              "'warmup_steps': 9}"),
      "warmup 9 from 0");
  EXPECT_EQ(
      text_of("{'lr_scheduler_type': 'constant', 'warmup_ratio': 0.1}"),
      "constant 1");
}

TEST(FromConfig, TakesAWarmupOfZeroForNone) {
  // Both are there in a dump of Megatron's arguments, and 0 by default.
  const std::string iters =
      "{'lr_decay_style': 'linear', 'train_iters': 9, 'lr_warmup_iters': ";
  EXPECT_EQ(
      text_of(iters + "1, 'lr_warmup_samples': 0}"),
      "warmup 1 from 0 > linear 8");
  EXPECT_EQ(text_of(iters + "0, '--lr-warmup-samples': 0}"), "linear 9");
  EXPECT_EQ(
      text_of("{'lr_decay_style': 'linear', 'train_samples': 90, "
              "'global_batch_size': 10, 'lr_warmup_samples': 20, "
              "'lr_warmup_iters': 0}"),
      "warmup 2 from 0 > linear 7");
  EXPECT_EQ(
      text_of("{'lr_decay_style': 'linear', 'lr_warmup_samples': 0}", 9),
      "linear 9");
}

TEST(FromConfig, TakesNullForNothingWhereItWouldTellWhoseItIs) {
  const Worded rows[] = {
      {"{'scheduler': null, 'type': 'LRRangeTest'}", "linear 1000 to 1.5"},
      {"{'scheduler': {'type': 'LRRangeTest'}, 'type': null}",
       "linear 1000 to 1.5"},
      {"{'type': 'LRRangeTest', 'train-iters': null}", "linear 1000 to 1.5"},
      {"{'lr_scheduler_type': null, 'lr_decay_style': 'linear'}",
       "linear 1000"},
      {"{'lr_decay_style': null, 'train_iters': 40}", "linear 40"},
      {"{'lr_scheduler_type': 'linear', 'type': null, 'scheduler': null, "
       "'lr_decay_style': null, '--train-samples': null}",
       "linear 1000"},
  };
  for (const Worded& row : rows) {
    EXPECT_EQ(text_of(row.config, 1000), row.text) << row.config;
  }
}

TEST(FromConfig, TakesKwargsThatAreAText) {
  EXPECT_EQ(
      from_config(R"({"lr_scheduler_type": "cosine_with_min_lr",
                      "lr_scheduler_kwargs": "{\"min_lr_rate\": 0.5}",
                      "max_steps": 100})")
          .schedule,
      parse("cosine 100 to 0.5"));
}

TEST(FromConfig, TellsTheBaseRateWhereOneIsNamed) {
  const auto lr = [](const char* config) {
    return from_config(json(config), run_of(100)).lr;
  };
  EXPECT_EQ(lr("{'lr_scheduler_type': 'linear', 'learning_rate': 5e-5}"), 5e-5);
  EXPECT_EQ(lr("{'lr_scheduler_type': 'linear'}"), std::nullopt);
  EXPECT_EQ(lr("{'type': 'WarmupLR', 'params': {}}"), std::nullopt);
  EXPECT_EQ(lr("{'type': 'WarmupDecayLR', 'params': {}}"), 0.001);
  EXPECT_EQ(lr("{'type': 'LRRangeTest'}"), 0.001);
  const char whole[] =
      "{'optimizer': {'params': {'lr': 0.25, 'betas': [0.9, 0.99]}}, "
      "'scheduler': {'type': 'WarmupCosineLR', 'params': {}}, 'zero': [{}]}";
  EXPECT_EQ(lr(whole), 0.25);
  EXPECT_EQ(lr("{'lr_decay_style': 'cosine', 'lr': 3e-4}"), 3e-4);
  EXPECT_EQ(lr("{'lr_decay_style': 'cosine'}"), std::nullopt);
}

TEST(FromConfig, NotesWhatAScheduleCannotHold) {
  const auto notes = [](const char* config) {
    std::string all;
    for (const auto& note : from_config(json(config), run_of(100)).notes) {
      all += note + "\n";
    }
    return all;
  };
  EXPECT_EQ(notes("{'lr_scheduler_type': 'cosine'}"), "");
  EXPECT_NE(
      notes("{'lr_scheduler_type': 'constant', 'warmup_steps': 5}")
          .find("constant_with_warmup has one"),
      std::string::npos);
  const std::string cycle =
      "{'type': 'OneCycle', 'params': {'cycle_min_lr': "
      "0.01, 'cycle_max_lr': 0.1";
  EXPECT_NE(
      notes((cycle + "}}").c_str()).find("from 0.9 to 0.8"), std::string::npos);
  EXPECT_EQ(notes((cycle + ", 'cycle_momentum': false}}").c_str()), "");
  EXPECT_NE(
      notes("{'lr_decay_style': 'linear', 'train_samples': 800, "
            "'global_batch_size': 16}")
          .find("samples are taken as updates of global_batch_size 16"),
      std::string::npos);
}

TEST(FromConfig, ForgetsNothingOfTheirQuirks) {
  // lint() has a word for them: an update at a rate of 0.
  const Schedule late =
      from_config(
          json("{'type': 'WarmupLR', 'params': {'warmup_num_steps': 100}}"))
          .schedule;
  EXPECT_EQ(late(0), 0);
  EXPECT_EQ(late(1), 0);
  EXPECT_EQ(lint(late, 1000).at(0).kind, LintKind::kFirstUpdateAtZero);
}

struct BadConfig {
  const char* config;
  std::vector<std::string> says;
};

void expect_refusals(const std::vector<BadConfig>& rows, double run = 0) {
  for (const BadConfig& row : rows) {
    EXPECT_TRUE(is_refused(
        {[&] { from_config(json(row.config), run_of(run)); }, row.says}))
        << row.config;
  }
}

TEST(FromConfig, RefusesWhatIsNoConfiguration) {
  expect_refusals({
      {"", {"from_config: the text is no JSON", "byte 1"}},
      {"{", {"the text is no JSON", "byte 2"}},
      {"{'type': 'WarmupLR'} x", {"the text is no JSON", "byte 22"}},
      {"{'lr': 1e999, 'train_iters': 9}", {"the text is no JSON"}},
      {"{'lr': NaN, 'train_iters': 9}", {"the text is no JSON"}},
      {"[]", {"must be a JSON object, got a list"}},
      {"null", {"must be a JSON object, got null"}},
      {"{}", {"must tell whose configuration it is", "got none"}},
      {"{'lr': 1}", {"whose configuration it is", "train_iters", "got lr"}},
      {"{'scheduler': null}", {"whose configuration it is", "got none"}},
      {"{'lr': 1, 'type': null, 'train-iters': null}",
       {"whose configuration it is", "got lr"}},
      {"{'train_iters': 9, 'warmup_steps': null}",
       {"'warmup_steps' is no field of the configuration of Megatron-LM"}},
      {"{'lr_scheduler_type': 'linear', 'type': 'OneCycle'}",
       {"whose configuration it is", "got lr_scheduler_type, type"}},
      {"{'lr_decay_style': 'linear', 'lr_scheduler_type': 'linear'}",
       {"whose configuration it is"}},
      {"{'type': 'WarmupLR', 'type': 'OneCycle'}",
       {"'type' stands twice in one object"}},
      {"{'type': 'WarmupLR', 'params': {'a': 1, 'a': 1}}",
       {"'a' stands twice in one object"}},
      {"{'scheduler': {'type': 'WarmupLR'}, 'x': [{'b': 1, 'b': 2}]}",
       {"'b' stands twice in one object"}},
      {"{'lr-decay-style': 'linear', 'lr_decay_style': 'linear'}",
       {"'lr_decay_style' stands there in two spellings"}},
  });
  const std::string deep(33, '[');
  EXPECT_TRUE(is_refused(
      {[&] { from_config("{\"type\": " + deep); },
       {"must not be nested more than 32 deep"}}));
  EXPECT_TRUE(is_refused(
      {[] { from_config("{\"type\": \"\xff\"}"); }, {"is no JSON"}}));
  EXPECT_TRUE(is_refused(
      {[] { from_config("{}", run_of(-1)); },
       {"ParseContext: run_length must be >= 0", "-1"}}));
}

TEST(FromConfig, NamesTheKnownFieldsAndTypes) {
  expect_refusals(
      {
          {"{'lr_scheduler_type': 'cosin'}",
           {"lr_scheduler_type 'cosin' is unknown",
            "did you mean 'cosine'?",
            "linear, cosine, cosine_with_restarts, polynomial, constant, "
            "constant_with_warmup, inverse_sqrt, cosine_with_min_lr, "
            "cosine_warmup_with_min_lr, warmup_stable_decay, "
            "reduce_lr_on_plateau, greedy"}},
          {"{'lr_scheduler_type': 'wsd'}", {"'wsd' is unknown; known are:"}},
          {"{'lr_scheduler_type': 7}", {"must be a text, got 7"}},
          {"{'lr_scheduler_type': 'linear', 'warmup_step': 5}",
           {"'warmup_step' is no field of the configuration of Hugging Face",
            "did you mean 'warmup_steps'?",
            "known are: lr_scheduler_type, lr_scheduler_kwargs, learning_rate, "
            "warmup_steps, warmup_ratio, max_steps, num_warmup_steps, "
            "num_training_steps"}},
          {"{'lr_scheduler_type': 'cosine', 'lr_scheduler_kwargs': "
           "{'num_cycle': 1}}",
           {"'num_cycle' is no field of lr_scheduler_kwargs of cosine",
            "did you mean 'num_cycles'?",
            "known are: num_cycles"}},
          {"{'lr_scheduler_type': 'linear', 'lr_scheduler_kwargs': "
           "{'num_cycles': 1}}",
           {"no field of lr_scheduler_kwargs of linear", "known are: none"}},
          // Their get_scheduler() passes it over.
          {"{'lr_scheduler_type': 'inverse_sqrt', 'lr_scheduler_kwargs': "
           "{'timescale': 100}}",
           {"'timescale' is no field of lr_scheduler_kwargs of inverse_sqrt"}},
          {"{'type': 'WarmUpLR'}",
           {"type 'WarmUpLR' is unknown",
            "did you mean 'WarmupLR'?",
            "WarmupLR, WarmupDecayLR, WarmupCosineLR, OneCycle, LRRangeTest"}},
          {"{'type': 'StepLR'}",
           {"a scheduler of PyTorch goes by the class of its name"}},
          {"{'type': 'WarmupLR', 'parms': {}}",
           {"'parms' is no field of the configuration of DeepSpeed",
            "did you mean 'params'?"}},
          {"{'type': 'WarmupLR', 'params': {'total_num_steps': 9}}",
           {"'total_num_steps' is no field of params of WarmupLR",
            "known are: warmup_min_lr, warmup_max_lr, warmup_num_steps, "
            "warmup_type"}},
          {"{'scheduler': 7}", {"scheduler must be an object, got 7"}},
          {"{'lr_decay_style': 'linear', 'lr_warmup': 9}",
           {"'lr_warmup' is no field of the configuration of Megatron-LM",
            "known are: lr, min_lr, lr_decay_style"}},
          {"{'lr_decay_style': 'linear', 'lr_warmup_iter': 9}",
           {"did you mean 'lr_warmup_iters'?"}},
          {"{'lr_decay_style': 'exponential'}",
           {"lr_decay_style must be one of constant, linear, cosine, "
            "inverse-square-root, WSD, got the text \"exponential\""}},
      },
      100);
}

TEST(FromConfig, SaysWhichClassGoesByAMetric) {
  expect_refusals({
      {"{'lr_scheduler_type': 'reduce_lr_on_plateau'}",
       {"goes by a metric", "ReduceLROnPlateauOptions", "patience"}},
      {"{'lr_scheduler_type': 'greedy'}",
       {"goes by a metric", "GreedyLROptions", "window"}},
  });
}

TEST(FromConfig, RefusesValuesOutOfRangeAndOfOtherTypes) {
  const std::string face = "{'lr_scheduler_type': 'cosine', ";
  const std::string stable =
      "{'lr_scheduler_type': 'warmup_stable_decay', 'max_steps': 100, "
      "'warmup_steps': 10, 'lr_scheduler_kwargs': ";
  const std::string floor =
      "{'lr_scheduler_type': 'cosine_with_min_lr', 'lr_scheduler_kwargs': ";
  const std::string warm = "{'type': 'WarmupLR', 'params': {";
  const std::string cycle =
      "{'type': 'OneCycle', 'params': {'cycle_min_lr': "
      "0.1, 'cycle_max_lr': ";
  const std::string iters = "{'lr_decay_style': 'cosine', 'lr': 0.1, ";
  const std::vector<std::pair<std::string, std::vector<std::string>>> rows = {
      {face + "'learning_rate': '5e-5'}",
       {"learning_rate must be a number, got the text \"5e-5\""}},
      {face + "'learning_rate': 0}",
       {"learning_rate must be > 0 and finite, got 0"}},
      {face + "'learning_rate': true}", {"must be a number, got true"}},
      {face + "'max_steps': 0}", {"max_steps must be > 0, or -1, got 0"}},
      {face + "'max_steps': 9.5}", {"must be a whole number", "got 9.5"}},
      {face + "'max_steps': 9007199254740994}", {"must be a whole number"}},
      {face + "'max_steps': 5, 'num_training_steps': 5}",
       {"max_steps and num_training_steps say the same"}},
      {face + "'warmup_steps': 5, 'num_warmup_steps': 5}",
       {"warmup_steps and num_warmup_steps say the same"}},
      {face + "'warmup_steps': 5, 'warmup_ratio': 0.1}",
       {"warmup_steps and warmup_ratio say the same"}},
      {face + "'warmup_steps': -1}", {"warmup_steps must be >= 0", "-1"}},
      {face + "'warmup_steps': 2.5}",
       {"warmup_steps must be a whole number", "got 2.5"}},
      {face + "'warmup_ratio': 1.5}",
       {"warmup_ratio must be in [0, 1], got 1.5"}},
      {face + "'lr_scheduler_kwargs': []}",
       {"lr_scheduler_kwargs of cosine must be an object, got a list"}},
      {face + "'lr_scheduler_kwargs': {'num_cycles': 0}}",
       {"num_cycles must be > 0 and finite, got 0"}},
      {"{'lr_scheduler_type': 'cosine_with_restarts', 'lr_scheduler_kwargs': "
       "{'num_cycles': 1.5}}",
       {"num_cycles must be a whole number >= 1, got 1.5"}},
      {"{'lr_scheduler_type': 'polynomial'}",
       {"lr_end is a rate, got 1e-07; learning_rate is missing"}},
      {"{'lr_scheduler_type': 'polynomial', 'learning_rate': 1e-7}",
       {"lr_end must be < learning_rate"}},
      {"{'lr_scheduler_type': 'polynomial', 'learning_rate': 1e-8}",
       {"lr_end must be <= learning_rate 1e-08, got 1e-07"}},
      {floor + "{}}", {"exactly one of min_lr and min_lr_rate"}},
      {floor + "{'min_lr': 0, 'min_lr_rate': 0}}",
       {"exactly one of min_lr and min_lr_rate"}},
      {floor + "{'min_lr': 0.1}}",
       {"min_lr is a rate, got 0.1; learning_rate is missing"}},
      {floor + "{'min_lr_rate': 2}}", {"must be in [0, 1], got 2"}},
      {stable + "{}}", {"num_decay_steps must be given"}},
      {stable + "{'num_decay_steps': 91}}",
       {"num_decay_steps must leave room for a warm-up of 10 steps in a run of "
        "100, got 91"}},
      {stable + "{'num_decay_steps': 9, 'decay_type': 'sqrt'}}",
       {"decay_type must be one of linear, cosine, 1-sqrt"}},
      {warm + "'warmup_num_steps': 0}}", {"whole number >= 1, got 0"}},
      {warm + "'warmup_num_steps': 'auto'}}", {"'auto' is for the Trainer"}},
      {warm + "'warmup_max_lr': [0.1, 0.2]}}",
       {"one for each parameter group makes several schedules"}},
      {warm + "'warmup_min_lr': 0.1}}", {"warmup_max_lr is missing"}},
      {warm + "'warmup_min_lr': 0.2, 'warmup_max_lr': 0.1}}",
       {"warmup_min_lr must be <= warmup_max_lr 0.1, got 0.2"}},
      {warm + "'warmup_type': 'cosine'}}",
       {"warmup_type must be one of log, linear"}},
      {"{'type': 'WarmupLR', 'params': 3}",
       {"params of WarmupLR must be an object, got 3"}},
      {"{'type': 'OneCycle'}", {"cycle_max_lr must be given"}},
      {cycle + "0.05}}", {"cycle_min_lr must be <= cycle_max_lr 0.05"}},
      {cycle + "1, 'cycle_momentum': 1}}", {"must be true or false, got 1"}},
      {cycle + "1, 'cycle_first_step_size': 0}}", {"whole number >= 1"}},
      {iters + "'min_lr': 0.2}", {"min_lr must be <= lr 0.1, got 0.2"}},
      {iters + "'lr_warmup_init': 0.2}", {"lr_warmup_init must be <= lr 0.1"}},
      {iters + "'train_iters': 9, 'lr_warmup_iters': 9}",
       {"the warm-up must be shorter than the decay's 9 updates, got 9"}},
      {iters + "'lr_warmup_iters': 9, 'lr_warmup_fraction': 0.1}",
       {"lr_warmup_iters and lr_warmup_fraction say the same"}},
      {iters + "'train_iters': 9, 'lr_warmup_samples': 9}",
       {"train_iters counts updates and lr_warmup_samples samples"}},
      {iters + "'train_samples': 9, 'lr_warmup_iters': 9}",
       {"lr_warmup_iters counts updates and train_samples samples"}},
      {iters + "'train_iters': 9, 'lr_warmup_samples': '0'}",
       {"train_iters counts updates and lr_warmup_samples samples"}},
      {iters + "'train_samples': 90}",
       {"train_samples must come with global_batch_size", "got 90"}},
      {"{'lr_decay_style': 'inverse-square-root', 'train_iters': 9}",
       {"counts from the first sample", "global_batch_size"}},
      {"{'lr_decay_style': 'WSD', 'train_iters': 9}",
       {"lr_wsd_decay_iters must be given for WSD"}},
      {"{'lr_decay_style': 'WSD', 'train_iters': 9, 'lr_wsd_decay_iters': 10}",
       {"must leave room for a warm-up of 0 updates in 9, got 10"}},
  };
  for (const auto& [config, says] : rows) {
    expect_refusals({{config.c_str(), says}}, 100);
  }
}

TEST(FromConfig, NamesItselfWhereACurveRefuses) {
  expect_refusals({
      {"{'lr_scheduler_type': 'cosine', 'max_steps': 100, "
       "'lr_scheduler_kwargs': {'num_cycles': 1e-308}}",
       {"from_config: cosine: length must be >= 0 and finite, got inf"}},
  });
}

TEST(FromConfig, SaysWhichLengthIsMissing) {
  expect_refusals({
      {"{'lr_scheduler_type': 'linear'}",
       {"linear needs the length of the run", "max_steps", "run_length"}},
      {"{'lr_scheduler_type': 'constant_with_warmup', 'warmup_ratio': 0.1}",
       {"a warm-up by share needs the length of the run"}},
      {"{'type': 'WarmupDecayLR'}", {"total_num_steps is missing"}},
      {"{'type': 'LRRangeTest'}", {"the length of the run is wanted"}},
      {"{'lr_decay_style': 'constant'}",
       {"the length is missing", "lr_decay_iters"}},
  });
}

}  // namespace
}  // namespace stepsize
