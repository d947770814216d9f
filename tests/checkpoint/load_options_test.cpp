// What people want of a file that is not the whole of their program: one test a
// need. All of it a plain load refuses. Parts of a module: load_part_test.cpp.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/checkpoint/checkpoint_folder.h>
#include <stepsize/lr_scheduler/cosine_annealing_lr.h>
#include <torch/optim/adamw.h>
#include <torch/serialize/archive.h>

#include <cmath>
#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>

#include "tests/checkpoint/loaded.h"
#include "tests/checkpoint/small_run.h"
#include "tests/checkpoint/temporary_folder.h"
#include "tests/support/error_text.h"

namespace stepsize {
namespace {

using test::bits_of;
using test::lines_of;
using test::message_of;
using test::SmallRun;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;

class LoadSome : public testing::Test {
 protected:
  LoadSome() : path(folder.file("run.ckpt")), source(3), target(5) {
    save_checkpoint(path, source.checkpoint());
  }

  // Whether a plain load refuses, and changes nothing.
  bool is_refused(Checkpoint& checkpoint) const {
    return !message_of([&] { load_checkpoint(path, checkpoint); }).empty();
  }

  test::TemporaryFolder folder;
  std::string path;
  SmallRun source;
  SmallRun target;
};

TEST_F(LoadSome, TheModelAloneForAnEvaluation) {
  Checkpoint checkpoint;
  checkpoint.module("net", *target.net);
  EXPECT_TRUE(is_refused(checkpoint));
  torch::manual_seed(7);
  const auto drawn = torch::rand({3});
  torch::manual_seed(7);
  checkpoint.values()["mine"] = "stays";
  const LoadResult result =
      load_checkpoint(path, checkpoint, LoadOptions().only({"net"}));
  EXPECT_THAT(lines_of(result.loaded), ElementsAre("module 'net'"));
  EXPECT_THAT(result.not_found, IsEmpty());
  EXPECT_EQ(result.left_out.size(), 7U);
  EXPECT_EQ(lines_of(result.left_out)[0], "optimizer 'adam': as asked");
  EXPECT_FALSE(result.complete());
  EXPECT_EQ(bits_of(*target.net), bits_of(*source.net));
  EXPECT_TRUE(torch::equal(torch::rand({3}), drawn));
  EXPECT_EQ(checkpoint.values().at("mine"), "stays");
}

// The same from the whole program: what is not asked for stays.
TEST_F(LoadSome, OneItemOfMany) {
  target.step = source.step;
  const std::string expected = target.bits();
  target.step = 5;
  Checkpoint checkpoint = target.checkpoint();
  const LoadResult result =
      load_checkpoint(path, checkpoint, LoadOptions().only({"step"}));
  EXPECT_THAT(lines_of(result.loaded), ElementsAre("counter 'step'"));
  EXPECT_TRUE(target.bits() == expected);
}

TEST_F(LoadSome, AnotherOptimizerThanTheFiles) {
  torch::optim::AdamW other(
      target.net->parameters(), torch::optim::AdamWOptions(0.3));
  StepLR scheduler(other, StepLROptions(2));
  const auto make = [&] {
    Checkpoint checkpoint;
    checkpoint.module("net", *target.net)
        .optimizer("adam", other)
        .state("scheduler", scheduler)
        .generator("batches", target.generator)
        .counter("step", target.step)
        .number("best", target.best)
        .text("note", target.note)
        .tensor("curve", target.curve);
    return checkpoint;
  };
  Checkpoint checkpoint = make();
  EXPECT_TRUE(is_refused(checkpoint));
  const LoadResult result =
      load_checkpoint(path, checkpoint, LoadOptions().what_fits_of({"adam"}));
  EXPECT_THAT(
      lines_of(result.left_out),
      ElementsAre("optimizer 'adam': is a torch::optim::Adam in the file, a "
                  "torch::optim::AdamW here"));
  EXPECT_EQ(result.loaded.size(), 8U);  // the random state too
  EXPECT_EQ(target.step, 3);
  EXPECT_TRUE(other.state().empty());
  EXPECT_EQ(scheduler.last_epoch(), source.scheduler.last_epoch());
  // Asked to leave it out: the same.
  const LoadResult asked =
      load_checkpoint(path, checkpoint, LoadOptions().leave_out({"adam"}));
  EXPECT_THAT(
      lines_of(asked.left_out), ElementsAre("optimizer 'adam': as asked"));
}

TEST_F(LoadSome, AnotherSchedulerThanTheFiles) {
  target.adam.param_groups()[0].options().set_lr(0.1);
  CosineAnnealingLR other(target.adam, CosineAnnealingLROptions(10));
  Checkpoint checkpoint;
  checkpoint.module("net", *target.net)
      .optimizer("adam", target.adam)
      .state("scheduler", other)
      .counter("step", target.step);
  EXPECT_TRUE(is_refused(checkpoint));
  const LoadResult result =
      load_checkpoint(path, checkpoint, LoadOptions().what_fits(true));
  EXPECT_EQ(
      lines_of(result.left_out)[0],
      "state 'scheduler': is a stepsize::StepLR in the file, a "
      "stepsize::CosineAnnealingLR here");
  EXPECT_EQ(
      lines_of(result.left_out)[1],
      "generator 'batches': is in the file alone");
  // It goes on at the file's step by hand.
  other.seek(target.step);
  EXPECT_EQ(other.last_epoch(), 3);
  EXPECT_EQ(
      target.adam.param_groups()[0].options().get_lr(), other.lr_at(3)[0]);
}

TEST_F(LoadSome, AnItemThatTheFileLacks) {
  torch::nn::Linear ema(3, 2);
  const std::string before = bits_of(*ema);
  Checkpoint checkpoint = target.checkpoint();
  checkpoint.module("ema", ema);
  EXPECT_TRUE(is_refused(checkpoint));
  const LoadResult result =
      load_checkpoint(path, checkpoint, LoadOptions().leave_out({"ema"}));
  EXPECT_THAT(lines_of(result.left_out), ElementsAre("module 'ema': as asked"));
  EXPECT_EQ(result.loaded.size(), 9U);
  EXPECT_EQ(bits_of(*ema), before);
  const LoadResult fitting =
      load_checkpoint(path, checkpoint, LoadOptions().what_fits(true));
  EXPECT_THAT(
      lines_of(fitting.not_found),
      ElementsAre("module 'ema': is not in the file"));
  EXPECT_THAT(fitting.left_out, IsEmpty());
}

// It starts as a copy of the model's weights, from the same file.
TEST_F(LoadSome, ACopyOfTheModelFromTheModelsItem) {
  SmallRun ema(9);
  Checkpoint checkpoint;
  checkpoint.module("net", *ema.net);
  load_checkpoint(path, checkpoint, LoadOptions().only({"net"}));
  EXPECT_EQ(bits_of(*ema.net), bits_of(*source.net));
}

TEST_F(LoadSome, AnItemThatOnlyTheFileHas) {
  Checkpoint checkpoint;
  checkpoint.module("net", *target.net)
      .optimizer("adam", target.adam)
      .state("scheduler", target.scheduler)
      .generator("batches", target.generator)
      .counter("step", target.step)
      .number("best", target.best)
      .text("note", target.note);
  EXPECT_TRUE(is_refused(checkpoint));
  const LoadResult result =
      load_checkpoint(path, checkpoint, LoadOptions().leave_out({"curve"}));
  EXPECT_THAT(
      lines_of(result.left_out), ElementsAre("tensor 'curve': as asked"));
  EXPECT_EQ(target.note, "seed 3");
}

TEST_F(LoadSome, ARandomStateThatTheFileLacks) {
  save_checkpoint(path, source.checkpoint().random_state(false));
  Checkpoint checkpoint = target.checkpoint();
  EXPECT_TRUE(is_refused(checkpoint));
  const LoadResult result =
      load_checkpoint(path, checkpoint, LoadOptions().what_fits(true));
  EXPECT_THAT(
      lines_of(result.not_found),
      ElementsAre("the random state: is not in the file"));
}

// Fails in its own way when it is loaded.
struct Stubborn {
  void save(torch::serialize::OutputArchive& archive) const {
    archive.write("value", c10::IValue(value));
  }
  void load(torch::serialize::InputArchive& archive) {
    c10::IValue read;
    archive.read("value", read);
    value = read.toInt();
    if (fails) {
      fails = false;  // so that it can be put back
      if (says_so) TORCH_CHECK(false, "other options");
      throw std::runtime_error("broken");
    }
  }
  int64_t value = 1;
  bool fails = false;
  bool says_so = false;
};

// All or nothing, also of the part that was asked for.
TEST_F(LoadSome, AFailureInTheMiddleChangesNothing) {
  Stubborn saved;
  save_checkpoint(path, source.checkpoint().state("stubborn", saved));
  for (const bool says_so : {false, true}) {
    for (const LoadOptions& options :
         {LoadOptions().only({"net", "adam", "stubborn"}),
          LoadOptions().leave_out({"scheduler"}),
          LoadOptions().what_fits_of({"net"})}) {
      Stubborn stubborn{2, true, says_so};
      Checkpoint checkpoint = target.checkpoint();
      checkpoint.state("stubborn", stubborn);
      const std::string before = target.bits();
      EXPECT_THAT(
          message_of([&] { load_checkpoint(path, checkpoint, options); }),
          HasSubstr(": state 'stubborn': "));
      EXPECT_TRUE(target.bits() == before);
      EXPECT_EQ(stubborn.value, 2);
    }
  }
}

TEST_F(LoadSome, WhatAStateRefusesDoesNotFitAndWhatBreaksUndoesAll) {
  Stubborn saved;
  save_checkpoint(path, source.checkpoint().state("stubborn", saved));
  Stubborn stubborn{2, true, true};
  Checkpoint checkpoint = target.checkpoint();
  checkpoint.state("stubborn", stubborn);
  const auto options = LoadOptions().what_fits(true);
  const LoadResult result = load_checkpoint(path, checkpoint, options);
  EXPECT_THAT(
      lines_of(result.left_out),
      ElementsAre("state 'stubborn': other options"));
  EXPECT_EQ(stubborn.value, 2);
  EXPECT_EQ(target.step, 3);

  // What is left out last of all may leave nothing.
  stubborn = {2, true, true};
  Checkpoint alone;
  alone.state("stubborn", stubborn);
  EXPECT_THAT(
      message_of([&] {
        load_checkpoint(
            path,
            alone,
            LoadOptions().only({"stubborn"}).what_fits_of({"stubborn"}));
      }),
      HasSubstr(": nothing of the file is loaded:\n"));
  EXPECT_EQ(stubborn.value, 2);

  SmallRun other(5);
  stubborn = {2, true, false};
  Checkpoint again = other.checkpoint();
  again.state("stubborn", stubborn);
  const std::string before = other.bits();
  EXPECT_THAT(
      message_of([&] { load_checkpoint(path, again, options); }),
      EndsWith(": state 'stubborn': broken"));
  EXPECT_TRUE(other.bits() == before);
  EXPECT_EQ(stubborn.value, 2);
}

// A program whose scheduler has other options than the file's.
class LoadOptionsFrom : public LoadSome {
 protected:
  LoadOptionsFrom() : scheduler(target.adam, StepLROptions(200)) {}

  Checkpoint checkpoint() {
    Checkpoint made;
    made.module("net", *target.net)
        .optimizer("adam", target.adam)
        .state("scheduler", scheduler)
        .generator("batches", target.generator)
        .counter("step", target.step)
        .number("best", target.best)
        .text("note", target.note)
        .tensor("curve", target.curve);
    return made;
  }

  StepLR scheduler;
};

TEST_F(LoadOptionsFrom, EachSideAndNeither) {
  Checkpoint whole = checkpoint();
  const std::string before = target.bits() + test::saved(scheduler);
  EXPECT_EQ(
      message_of([&] { load_checkpoint(path, whole); }),
      "load_checkpoint: " + path +
          ": state 'scheduler': StepLR: step_size is 2 in the file, 200 here");
  EXPECT_TRUE(target.bits() + test::saved(scheduler) == before);

  const LoadResult mine = load_checkpoint(
      path, whole, LoadOptions().options_from(OptionsFrom::kProgram));
  EXPECT_EQ(
      lines_of(mine.loaded)[7],
      "state 'scheduler': this program's options hold: step_size is 2 in the "
      "file, 200 here");
  EXPECT_EQ(scheduler.last_epoch(), source.scheduler.last_epoch());
  EXPECT_EQ(scheduler.describe(), "StepLR(step_size=200, gamma=0.1)");
  EXPECT_EQ(target.adam.param_groups()[0].options().get_lr(), 0.1);

  const LoadResult files = load_checkpoint(
      path, whole, LoadOptions().options_from(OptionsFrom::kFile));
  EXPECT_EQ(
      lines_of(files.loaded)[7],
      "state 'scheduler': the file's options hold: step_size is 2 in the file, "
      "200 here");
  EXPECT_TRUE(test::saved(scheduler) == test::saved(source.scheduler));
  EXPECT_TRUE(load_checkpoint(path, whole).complete());
}

// What does not agree does not fit.
TEST_F(LoadOptionsFrom, AStateOfOtherOptionsIsLeftOutWhereWhatFitsIsLoaded) {
  Checkpoint whole = checkpoint();
  const LoadResult result =
      load_checkpoint(path, whole, LoadOptions().what_fits_of({"scheduler"}));
  EXPECT_THAT(
      lines_of(result.left_out),
      ElementsAre("state 'scheduler': StepLR: step_size is 2 in the file, 200 "
                  "here"));
  EXPECT_EQ(scheduler.last_epoch(), 0);
  EXPECT_EQ(scheduler.describe(), "StepLR(step_size=200, gamma=0.1)");
}

TEST_F(LoadOptionsFrom, AnUndoneLoadPutsOptionsBack) {
  Stubborn saved;
  save_checkpoint(path, source.checkpoint().state("stubborn", saved));
  for (const OptionsFrom from : {OptionsFrom::kProgram, OptionsFrom::kFile}) {
    Stubborn stubborn{2, true, true};
    Checkpoint whole = checkpoint();
    whole.state("stubborn", stubborn);
    const std::string before = target.bits() + test::saved(scheduler);
    EXPECT_THAT(
        message_of([&] {
          load_checkpoint(path, whole, LoadOptions().options_from(from));
        }),
        EndsWith("state 'stubborn': other options"));
    EXPECT_EQ(scheduler.describe(), "StepLR(step_size=200, gamma=0.1)");
    EXPECT_TRUE(target.bits() + test::saved(scheduler) == before);
  }
}

// A rate that is set by hand after a load is gone at the next step.
TEST_F(LoadOptionsFrom, ARateThatStaysAfterALoad) {
  Checkpoint whole = target.checkpoint();
  load_checkpoint(path, whole);
  auto& options = target.adam.param_groups()[0].options();
  options.set_lr(0.5);
  target.scheduler.step();
  EXPECT_NE(options.get_lr(), 0.5);
  target.scheduler.set_base_lrs(0.5);
  const auto epoch = target.scheduler.last_epoch();
  EXPECT_DOUBLE_EQ(options.get_lr(), 0.5 * std::pow(0.1, epoch / 2));
  target.scheduler.step();
  EXPECT_DOUBLE_EQ(options.get_lr(), 0.5 * std::pow(0.1, (epoch + 1) / 2));
}

// A damaged file is none of which a part could be had.
TEST_F(LoadSome, ADamagedFileStaysRefused) {
  std::string bytes = test::read_bytes(path);
  bytes[bytes.size() - 9] ^= 1;
  test::write_bytes(path, bytes);
  Checkpoint checkpoint = target.checkpoint();
  const std::string before = target.bits();
  EXPECT_THAT(
      message_of([&] {
        load_checkpoint(path, checkpoint, LoadOptions().what_fits(true));
      }),
      HasSubstr("is damaged"));
  EXPECT_TRUE(target.bits() == before);
}

TEST_F(LoadSome, AFolderTakesTheSameOptions) {
  const std::string runs = folder.file("runs");
  Checkpoint saved = source.checkpoint();
  CheckpointFolder(runs).save(3, saved, 0.5);
  Checkpoint checkpoint;
  checkpoint.module("net", *target.net);
  CheckpointFolder other(runs);
  const auto loaded = other.load_best(checkpoint, LoadOptions().only({"net"}));
  EXPECT_EQ(loaded.step, 3);
  EXPECT_THAT(lines_of(loaded.items.loaded), ElementsAre("module 'net'"));
  EXPECT_EQ(bits_of(*target.net), bits_of(*source.net));
  // Weights taken out of a folder are no resume of its run.
  EXPECT_THAT(
      message_of([&] { other.save(1, checkpoint); }),
      HasSubstr("which this object has neither saved nor loaded"));
  Checkpoint whole = target.checkpoint();
  const auto latest =
      other.load_latest(whole, LoadOptions().leave_out({"curve"}));
  EXPECT_THAT(
      lines_of(latest.items.left_out), ElementsAre("tensor 'curve': as asked"));
  other.save(4, whole);
  EXPECT_EQ(other.paths().size(), 2U);
}

TEST_F(LoadSome, ThePlainLoadTellsWhatItHasLoaded) {
  Checkpoint checkpoint = target.checkpoint();
  const LoadResult result = load_checkpoint(path, checkpoint);
  EXPECT_TRUE(result.complete());
  EXPECT_THAT(
      lines_of(result.loaded),
      ElementsAre(
          "module 'net'",
          "optimizer 'adam'",
          "generator 'batches'",
          "counter 'step'",
          "number 'best'",
          "text 'note'",
          "tensor 'curve'",
          "state 'scheduler'",
          "the random state"));
}

TEST(LoadResult, PrintsInEightyColumns) {
  LoadResult result;
  result.loaded = {
      {"module 'net'", "", "60 of 62 parameters and buffers"},
      {"counter 'step'", "", ""}};
  result.left_out = {
      {"module 'net'",
       "parameter 'fc.weight'",
       "is Float of [10, 64] in the file, Float of [100, 64] here"}};
  for (int i = 0; i < 9; ++i) {
    result.left_out.push_back(
        {"module 'net'", "buffer 'b" + std::to_string(i) + "'", "as asked"});
  }
  result.not_found = {{"module 'ema'", "", "is not in the file"}};
  std::ostringstream stream;
  stream << result;
  EXPECT_EQ(
      stream.str(),
      "loaded     module 'net': 60 of 62 parameters and buffers\n"
      "           counter 'step'\n"
      "left out   module 'net': parameter 'fc.weight': is Float of [10, 64] in "
      "the\n"
      "             file, Float of [100, 64] here\n"
      "           module 'net': buffer 'b0', buffer 'b1', buffer 'b2', buffer "
      "'b3',\n"
      "             buffer 'b4', buffer 'b5' and 3 more: as asked\n"
      "not found  module 'ema': is not in the file\n");
}

}  // namespace
}  // namespace stepsize
