// What people want of a file that is not the whole of their program: one test a
// need. All of it a plain load refuses.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/checkpoint/checkpoint_folder.h>
#include <stepsize/lr_scheduler/cosine_annealing_lr.h>
#include <torch/nn/init.h>
#include <torch/nn/modules/linear.h>
#include <torch/optim/adamw.h>
#include <torch/serialize/archive.h>

#include <cmath>
#include <cstdint>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/checkpoint/small_run.h"
#include "tests/checkpoint/temporary_folder.h"
#include "tests/support/error_text.h"

namespace stepsize {
namespace {

using test::message_of;
using test::SmallRun;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;

std::vector<std::string> lines_of(const std::vector<LoadNote>& notes) {
  std::vector<std::string> lines;
  for (const LoadNote& note : notes) {
    std::string line = note.item;
    if (!note.tensor.empty()) line += ": " + note.tensor;
    if (!note.reason.empty()) line += ": " + note.reason;
    lines.push_back(line);
  }
  return lines;
}

// A body and a head of so many classes.
struct Net : torch::nn::Module {
  explicit Net(int64_t classes, double fill = 0)
      : body(register_module("body", torch::nn::Linear(3, 4))),
        head(register_module("head", torch::nn::Linear(4, classes))) {
    const torch::NoGradGuard no_grad;
    for (auto& parameter : parameters()) parameter.fill_(fill);
  }
  torch::nn::Linear body;
  torch::nn::Linear head;
};

double sum_of(const torch::nn::Module& module) {
  double sum = 0;
  for (const auto& tensor : module.parameters()) {
    sum += tensor.sum().item<double>();
  }
  return sum;
}

class LoadSome : public testing::Test {
 protected:
  LoadSome() : path(folder.file("run.ckpt")), source(3), target(5) {
    save_checkpoint(path, source.checkpoint());
  }

  // Whether a plain load refuses, and changes nothing.
  bool is_refused(Checkpoint& checkpoint) const {
    return !message_of([&] { load_checkpoint(path, checkpoint); }).empty();
  }

  std::string bits_of(const torch::nn::Module& module) const {
    std::ostringstream stream;
    for (const auto& tensor : module.parameters()) stream << tensor;
    return stream.str();
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

class LoadPart : public LoadSome {
 protected:
  void save(Net& net) {
    save_checkpoint(path, Checkpoint().module("net", net));
  }

  std::string refusal(Net& net, const LoadOptions& options) {
    const double before = sum_of(net);
    Checkpoint checkpoint;
    checkpoint.module("net", net);
    const std::string message =
        message_of([&] { load_checkpoint(path, checkpoint, options); });
    EXPECT_EQ(sum_of(net), before);
    return message;
  }

  LoadResult load(torch::nn::Module& net, const LoadOptions& options) {
    Checkpoint checkpoint;
    checkpoint.module("net", net);
    return load_checkpoint(path, checkpoint, options);
  }
};

// Ten classes in the file, two here.
TEST_F(LoadPart, ANewHeadBesideALoadedBody) {
  Net saved(10, 1);
  save(saved);
  Net net(2, 3);
  EXPECT_THAT(refusal(net, {}), HasSubstr("the file does not fit"));
  const LoadResult result = load(net, LoadOptions().what_fits(true));
  EXPECT_THAT(
      lines_of(result.loaded),
      ElementsAre(
          "module 'net': 2 of 4 parameters and buffers", "the random state"));
  EXPECT_THAT(
      lines_of(result.left_out),
      ElementsAre(
          "module 'net': parameter 'head.weight': is Float of [10, 4] "
          "in the file, Float of [2, 4] here",
          "module 'net': parameter 'head.bias': is Float of [10] in "
          "the file, Float of [2] here"));
  EXPECT_EQ(sum_of(*net.body), 16);
  EXPECT_EQ(sum_of(*net.head), 30);
}

// An optimizer's state goes by position: it is the file's or it is left.
TEST_F(LoadPart, TheOptimizerOfAnotherHeadStaysAsItIs) {
  Net saved(10, 1);
  torch::optim::AdamW first(saved.parameters());
  Checkpoint whole;
  whole.module("net", saved).optimizer("adamw", first);
  save_checkpoint(path, whole);
  Net net(2, 3);
  torch::optim::AdamW second(net.parameters(), torch::optim::AdamWOptions(0.7));
  Checkpoint checkpoint;
  checkpoint.module("net", net).optimizer("adamw", second);
  const LoadResult result =
      load_checkpoint(path, checkpoint, LoadOptions().what_fits(true));
  EXPECT_EQ(
      lines_of(result.left_out).back(),
      "optimizer 'adamw': parameter 2 of group 0 is Float of [10, 4] in the "
      "file, Float of [2, 4] here; parameter 3 of group 0 is Float of [10] in "
      "the file, Float of [2] here");
  EXPECT_EQ(second.param_groups()[0].options().get_lr(), 0.7);
  EXPECT_EQ(sum_of(*net.body), 16);
}

// As asked: what is left must fit to the last parameter.
TEST_F(LoadPart, TheBodyWithoutTheHead) {
  Net saved(10, 1);
  save(saved);
  Net net(2, 3);
  const LoadResult result =
      load(net, LoadOptions().only({"net"}).leave_out_tensors({"head"}));
  EXPECT_EQ(
      lines_of(result.left_out),
      std::vector<std::string>(
          {"module 'net': parameter 'head.weight': as asked",
           "module 'net': parameter 'head.bias': as asked"}));
  EXPECT_EQ(sum_of(*net.body), 16);
  EXPECT_EQ(sum_of(*net.head), 30);
  Net again(2, 3);
  load(again, LoadOptions().only_tensors({"body.*"}));
  EXPECT_EQ(sum_of(*again.body), 16);
  EXPECT_THAT(
      refusal(net, LoadOptions().leave_out_tensors({"head.bias"})),
      EndsWith(": the file does not fit:\n  module 'net': parameter "
               "'head.weight' is Float of [10, 4] in the file, Float of [2, 4] "
               "here"));
}

// Of the whole model in the file the body alone is there.
TEST_F(LoadPart, ABodyFromAWholeModel) {
  Net saved(10, 1);
  save(saved);
  torch::nn::Linear body(3, 4);
  const auto options =
      LoadOptions().rename_prefix("body.", "").leave_out_tensors({"head"});
  const LoadResult result = load(*body, options);
  EXPECT_EQ(result.loaded[0].reason, "");
  EXPECT_EQ(sum_of(*body), 16);
}

TEST_F(LoadPart, AWholeModelFromABody) {
  torch::nn::Linear body(3, 4);
  torch::nn::init::constant_(body->weight, 1);
  torch::nn::init::constant_(body->bias, 1);
  save_checkpoint(path, Checkpoint().module("net", body));
  Net net(2, 3);
  const auto options =
      LoadOptions().rename_prefix("", "body.").leave_out_tensors({"head"});
  load(net, options);
  EXPECT_EQ(sum_of(*net.body), 16);
  EXPECT_EQ(sum_of(*net.head), 30);
}

// One module around another, as data parallelism makes them.
TEST_F(LoadPart, AModelThatWasWrapped) {
  struct Wrapper : torch::nn::Module {
    Wrapper()
        : module(register_module("module", std::make_shared<Net>(2, 1))) {}
    std::shared_ptr<Net> module;
  };
  Wrapper wrapper;
  save_checkpoint(path, Checkpoint().module("net", wrapper));
  Net net(2, 3);
  EXPECT_THAT(
      refusal(net, {}),
      HasSubstr("parameter 'module.body.bias' is in the file alone"));
  const LoadResult result =
      load(net, LoadOptions().rename_prefix("module.", ""));
  EXPECT_TRUE(result.complete());
  EXPECT_EQ(sum_of(net), 26);
}

TEST_F(LoadPart, TwoNamesThatBecomeOneAreRefused) {
  struct Two : torch::nn::Module {
    Two()
        : a(register_module("a", torch::nn::Linear(1, 1))),
          b(register_module("b", torch::nn::Linear(1, 1))) {}
    torch::nn::Linear a, b;
  };
  Two two;
  save_checkpoint(path, Checkpoint().module("net", two));
  EXPECT_THAT(
      message_of([&] { load(two, LoadOptions().rename_prefix("a.", "b.")); }),
      HasSubstr("two of the parameters of the file become 'b.weight'"));
}

TEST_F(LoadPart, TensorsThatOneSideLacksAreListed) {
  torch::nn::Linear saved(torch::nn::LinearOptions(3, 2).bias(false));
  save_checkpoint(path, Checkpoint().module("net", saved));
  torch::nn::Linear linear(3, 2);
  EXPECT_THAT(
      lines_of(load(*linear, LoadOptions().what_fits(true)).not_found),
      ElementsAre("module 'net': parameter 'bias': is not in the file"));
  save_checkpoint(path, Checkpoint().module("net", linear));
  EXPECT_THAT(
      lines_of(load(*saved, LoadOptions().what_fits(true)).left_out),
      ElementsAre("module 'net': parameter 'bias': is in the file alone"));
}

TEST_F(LoadPart, NothingAtAllIsNoLoad) {
  Net saved(10, 1);
  save(saved);
  torch::nn::Linear other(7, 7);
  const std::string before = bits_of(*other);
  Checkpoint checkpoint;
  checkpoint.module("net", other).random_state(false);
  EXPECT_THAT(
      message_of([&] {
        load_checkpoint(path, checkpoint, LoadOptions().what_fits(true));
      }),
      HasSubstr(": nothing of the file is loaded:\n"));
  EXPECT_EQ(bits_of(*other), before);
}

TEST_F(LoadPart, NamesThatAreNowhereAreRefused) {
  Net saved(10, 1);
  save(saved);
  Net net(10, 3);
  EXPECT_EQ(
      refusal(net, LoadOptions().only({"nte"})),
      "load_checkpoint: " + path +
          ": only: 'nte' is neither in the file nor in the Checkpoint, which "
          "have 'net'");
  EXPECT_THAT(
      refusal(net, LoadOptions().leave_out({"nte"})),
      HasSubstr(": leave_out: 'nte'"));
  EXPECT_THAT(
      refusal(net, LoadOptions().what_fits_of({"nte"})),
      HasSubstr(": what_fits_of: 'nte'"));
  EXPECT_THAT(
      refusal(net, LoadOptions().leave_out_tensors({"haed"})),
      HasSubstr(": leave_out_tensors: 'haed' is the name of no parameter or "
                "buffer that is loaded; did you mean 'head'"));
  EXPECT_THAT(
      refusal(net, LoadOptions().only_tensors({"body", "haed"})),
      HasSubstr(": only_tensors: 'haed'"));
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
