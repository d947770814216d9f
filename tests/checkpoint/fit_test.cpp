#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <stepsize/checkpoint/checkpoint_info.h>
#include <stepsize/optim/clipped_sgd.h>
#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>
#include <torch/version.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "tests/checkpoint/small_run.h"
#include "tests/checkpoint/temporary_folder.h"
#include "tests/support/error_text.h"
#include "tests/support/leaf.h"

namespace stepsize {
namespace {

using test::message_of;
using test::SmallRun;
using testing::HasSubstr;

class CheckpointFit : public testing::Test {
 protected:
  CheckpointFit() : path(folder.file("run.ckpt")), source(3), target(5) {
    save_checkpoint(path, source.checkpoint());
  }

  // What a load says that must change nothing.
  std::string refusal_of(Checkpoint checkpoint) {
    const std::string before = target.bits();
    const std::string message =
        message_of([&] { load_checkpoint(path, checkpoint); });
    EXPECT_TRUE(target.bits() == before) << message;
    return message;
  }

  std::string refused(const std::string& lines) const {
    return "load_checkpoint: " + path + ": the file does not fit:\n  " + lines;
  }

  test::TemporaryFolder folder;
  std::string path;
  SmallRun source;
  SmallRun target;
};

TEST_F(CheckpointFit, ALoadMakesTheTargetTheSource) {
  const std::string saved_bits = source.bits();
  save_checkpoint(path, source.checkpoint());
  SmallRun other(8);
  Checkpoint checkpoint = other.checkpoint();
  load_checkpoint(path, checkpoint);
  EXPECT_EQ(other.step, 3);
  EXPECT_EQ(other.best, 1.5);
  EXPECT_EQ(other.note, "seed 3");
  EXPECT_EQ(other.curve.size(0), 3);
  EXPECT_TRUE(other.bits() == saved_bits);
}

TEST_F(CheckpointFit, ParametersKeepTheirMemoryAndTheirVersion) {
  auto parameter = target.net->parameters()[0];
  const void* memory = parameter.data_ptr();
  const auto version = parameter._version();
  Checkpoint checkpoint = target.checkpoint();
  load_checkpoint(path, checkpoint);
  EXPECT_EQ(parameter.data_ptr(), memory);
  EXPECT_EQ(parameter._version(), version);
  EXPECT_TRUE(parameter.requires_grad());
  EXPECT_TRUE(torch::equal(parameter, source.net->parameters()[0]));
}

TEST_F(CheckpointFit, OptionsStayWhereTheyAre) {
  auto& options = target.adam.param_groups()[0].options();
  options.set_lr(0.7);
  Checkpoint checkpoint = target.checkpoint();
  load_checkpoint(path, checkpoint);
  EXPECT_EQ(&target.adam.param_groups()[0].options(), &options);
  EXPECT_EQ(options.get_lr(), source.adam.param_groups()[0].options().get_lr());
}

TEST_F(CheckpointFit, InfoSaysWhatIsInAFile) {
  Checkpoint checkpoint = source.checkpoint();
  checkpoint.values()["dataset"] = "cifar10";
  save_checkpoint(path, checkpoint);
  const CheckpointInfo info = read_checkpoint_info(path);
  EXPECT_EQ(info.format_version, 1);
  EXPECT_EQ(info.torch_version, TORCH_VERSION);
  ASSERT_EQ(info.entries.size(), 8U);
  EXPECT_EQ(info.entries[1].name, "adam");
  EXPECT_EQ(info.entries[1].kind, CheckpointEntryKind::kOptimizer);
  EXPECT_EQ(info.entries[1].class_name, "torch::optim::Adam");
  EXPECT_EQ(info.entries[2].class_name, "stepsize::StepLR");
  EXPECT_TRUE(info.random_state);
  EXPECT_EQ(info.counters.at("step"), 3);
  EXPECT_EQ(info.numbers.at("best"), 1.5);
  EXPECT_EQ(info.texts.at("note"), "seed 3");
  EXPECT_EQ(info.values.at("dataset"), "cifar10");
  EXPECT_FALSE(info.step || info.metric);
  EXPECT_EQ(
      info.file_size, static_cast<int64_t>(test::read_bytes(path).size()));
}

TEST_F(CheckpointFit, ValuesAreReplacedByTheFiles) {
  Checkpoint saved = source.checkpoint();
  saved.values() = {{"a", "1"}, {"empty", ""}, {"zero", std::string("\0x", 2)}};
  save_checkpoint(path, saved);
  Checkpoint checkpoint = target.checkpoint();
  checkpoint.values() = {{"a", "2"}, {"mine", "3"}};
  load_checkpoint(path, checkpoint);
  EXPECT_EQ(checkpoint.values(), saved.values());
}

TEST_F(CheckpointFit, NamesShapesAndTypesMustBeTheFiles) {
  SmallRun wide(5, 6);
  Checkpoint checkpoint;
  const std::string before = wide.bits();
  Checkpoint wrong = wide.checkpoint();
  const std::string message = message_of([&] { load_checkpoint(path, wrong); });
  EXPECT_TRUE(wide.bits() == before);
  EXPECT_THAT(
      message,
      HasSubstr(refused("module 'net': parameter '0.weight' is Float of [4, 3] "
                        "in the file, Float of [6, 3] here\n")));
  EXPECT_THAT(
      message,
      HasSubstr("  optimizer 'adam': parameter 0 of group 0 is Float of [4, 3] "
                "in the file, Float of [6, 3] here\n"));
  // Four parameters and two buffers of the module, four of the optimizer's.
  EXPECT_THAT(message, testing::Not(HasSubstr("more")));

  torch::nn::Sequential other(
      torch::nn::Linear(torch::nn::LinearOptions(3, 4).bias(false)),
      torch::nn::BatchNorm1d(4));
  other->to(torch::kFloat64);
  Checkpoint partial;
  partial.module("net", *other);
  Checkpoint full;
  full.module("net", *source.net);
  save_checkpoint(path, full);
  const std::string second =
      message_of([&] { load_checkpoint(path, partial); });
  EXPECT_THAT(
      second,
      HasSubstr("module 'net': parameter '0.bias' is in the file alone"));
  EXPECT_THAT(
      second,
      HasSubstr("'0.weight' is Float of [4, 3] in the file, Double of [4, 3]"));
}

TEST_F(CheckpointFit, EntriesMustBeTheFiles) {
  Checkpoint checkpoint;
  checkpoint.module("net", *target.net).counter("steps", target.step);
  EXPECT_THAT(
      refusal_of(std::move(checkpoint)),
      testing::StartsWith(refused("counter 'steps': is not in the file\n"
                                  "  optimizer 'adam': is in the file alone\n"
                                  "  state 'scheduler': is in the file")));
}

// Saved from one variable and loaded into another of the same type.
template <typename Value>
Value loaded(const std::string& path, Value saved) {
  save_checkpoint(path, Checkpoint().counter("n", saved));
  EXPECT_EQ(
      read_checkpoint_info(path).counters.at("n"), static_cast<int64_t>(saved));
  Value value = 0;
  Checkpoint target;
  load_checkpoint(path, target.counter("n", value));
  return value;
}

TEST_F(CheckpointFit, CountersAreOfEveryIntegerType) {
  EXPECT_EQ(loaded<int>(path, -7), -7);
  EXPECT_EQ(loaded<short>(path, INT16_MIN), INT16_MIN);
  EXPECT_EQ(loaded<int8_t>(path, -128), -128);
  EXPECT_EQ(loaded<uint32_t>(path, UINT32_MAX), UINT32_MAX);
  EXPECT_EQ(loaded<std::size_t>(path, 12), 12U);
  EXPECT_EQ(loaded<uint64_t>(path, INT64_MAX), uint64_t{INT64_MAX});
  EXPECT_EQ(loaded<int64_t>(path, INT64_MIN), INT64_MIN);
  EXPECT_EQ(loaded<long long>(path, INT64_MIN), INT64_MIN);
  EXPECT_EQ(loaded<bool>(path, true), true);
}

TEST_F(CheckpointFit, ACounterThatTheFileCannotHoldIsRefusedInTheSave) {
  uint64_t seen = uint64_t{INT64_MAX} + 1;
  EXPECT_THAT(
      message_of(
          [&] { save_checkpoint(path, Checkpoint().counter("seen", seen)); }),
      HasSubstr("counter 'seen': must be <= 9223372036854775807, as int64_t "
                "has it, got 9223372036854775808"));
  // A load may still replace it.
  int64_t small = 5;
  save_checkpoint(path, Checkpoint().counter("seen", small));
  Checkpoint checkpoint;
  load_checkpoint(path, checkpoint.counter("seen", seen));
  EXPECT_EQ(seen, 5U);
}

TEST_F(CheckpointFit, ACounterThatItsTypeCannotHoldIsRefusedInTheLoad) {
  int64_t large = int64_t{INT32_MAX} + 1;
  int64_t negative = -1;
  save_checkpoint(
      path, Checkpoint().counter("a", large).counter("b", negative));
  int a = 3;
  uint8_t b = 4;
  Checkpoint checkpoint;
  checkpoint.counter("a", a).counter("b", b);
  EXPECT_EQ(
      message_of([&] { load_checkpoint(path, checkpoint); }),
      refused("counter 'a': is 2147483648 in the file; here it must be in "
              "[-2147483648, 2147483647]\n"
              "  counter 'b': is -1 in the file; here it must be in [0, 255]"));
  EXPECT_EQ(a, 3);
  EXPECT_EQ(b, 4);
}

TEST_F(CheckpointFit, NumbersMayBeFloats) {
  float best = 0.1F;
  save_checkpoint(path, Checkpoint().number("best", best));
  best = 0;
  Checkpoint checkpoint;
  checkpoint.number("best", best);
  load_checkpoint(path, checkpoint);
  EXPECT_EQ(best, 0.1F);
  double wide = 1e39;
  save_checkpoint(path, Checkpoint().number("best", wide));
  EXPECT_EQ(
      message_of([&] { load_checkpoint(path, checkpoint); }),
      refused("number 'best': is 1e+39 in the file, and a float here"));
  EXPECT_EQ(best, 0.1F);
  wide = std::numeric_limits<double>::infinity();
  save_checkpoint(path, Checkpoint().number("best", wide));
  load_checkpoint(path, checkpoint);
  EXPECT_TRUE(std::isinf(best));
}

TEST_F(CheckpointFit, ModulesMayBeHeld) {
  torch::nn::Linear saved(3, 2);
  save_checkpoint(path, Checkpoint().module("net", saved));
  const auto held = std::make_shared<torch::nn::LinearImpl>(3, 2);
  Checkpoint checkpoint;
  load_checkpoint(path, checkpoint.module("net", held));
  EXPECT_TRUE(torch::equal(held->weight, saved->weight));
  const std::shared_ptr<torch::nn::LinearImpl> none;
  EXPECT_EQ(
      message_of([&] { checkpoint.module("other", none); }),
      "Checkpoint: the module 'other' is null");
}

TEST_F(CheckpointFit, ClassesMustBeTheFiles) {
  torch::optim::AdamW other(target.net->parameters());
  Checkpoint checkpoint;
  checkpoint.optimizer("adam", other);
  Checkpoint saved;
  saved.optimizer("adam", source.adam);
  save_checkpoint(path, saved);
  EXPECT_EQ(
      refusal_of(std::move(checkpoint)),
      refused("optimizer 'adam': is a torch::optim::Adam in the file, a "
              "torch::optim::AdamW here"));
}

TEST_F(CheckpointFit, GroupsMustBeTheFiles) {
  const auto parameters = source.net->parameters();
  torch::optim::SGD one(parameters, torch::optim::SGDOptions(0.1));
  torch::optim::SGD two(
      {torch::optim::OptimizerParamGroup({parameters[0]}),
       torch::optim::OptimizerParamGroup({parameters[1], parameters[2]})},
      torch::optim::SGDOptions(0.1));
  torch::optim::SGD three(
      {parameters[0], parameters[1], parameters[2]},
      torch::optim::SGDOptions(0.1));
  const auto message = [&](torch::optim::SGD& from, torch::optim::SGD& to) {
    Checkpoint saved;
    Checkpoint loaded;
    save_checkpoint(path, saved.optimizer("sgd", from));
    loaded.optimizer("sgd", to);
    return refusal_of(std::move(loaded));
  };
  EXPECT_EQ(
      message(one, two),
      refused("optimizer 'sgd': has 1 parameter groups in the file, 2 here"));
  EXPECT_EQ(
      message(one, three),
      refused("optimizer 'sgd': group 0 has 4 parameters in the file, 3 here"));
}

TEST_F(CheckpointFit, LoadsStateOverNoneAndNoneOverState) {
  auto trained = test::leaf({1, 2});
  auto fresh = test::leaf({1, 2});
  torch::optim::SGD with(
      {trained}, torch::optim::SGDOptions(0.1).momentum(0.9));
  torch::optim::SGD without(
      {fresh}, torch::optim::SGDOptions(0.3).momentum(0.9));
  trained.square().sum().backward();
  with.step();
  Checkpoint of_with;
  Checkpoint of_without;
  of_with.optimizer("sgd", with);
  of_without.optimizer("sgd", without);
  save_checkpoint(folder.file("with"), of_with);
  save_checkpoint(folder.file("without"), of_without);

  load_checkpoint(folder.file("without"), of_with);
  EXPECT_TRUE(with.state().empty());
  EXPECT_EQ(with.param_groups()[0].options().get_lr(), 0.3);
  load_checkpoint(folder.file("with"), of_without);
  ASSERT_EQ(without.state().size(), 1U);
  const auto& state = static_cast<torch::optim::SGDParamState&>(
      *without.state().begin()->second);
  // The first momentum is the gradient, 2 x.
  EXPECT_TRUE(torch::equal(
      state.momentum_buffer(), torch::tensor({2.0, 4.0}, torch::kFloat64)));
}

TEST_F(CheckpointFit, RefusesNamesThatAreEmptyOrThere) {
  Checkpoint checkpoint;
  EXPECT_EQ(
      message_of([&] { checkpoint.counter("", target.step); }),
      "Checkpoint: a counter needs a name");
  checkpoint.counter("x", target.step);
  EXPECT_EQ(
      message_of([&] { checkpoint.number("x", target.best); }),
      "Checkpoint: the name 'x' is there already, of a counter");
  at::Generator none;
  EXPECT_EQ(
      message_of([&] { checkpoint.generator("g", none); }),
      "Checkpoint: the generator 'g' is undefined");
}

// Draws, saves something, and throws in its load() if asked.
struct Moody {
  void save(torch::serialize::OutputArchive& archive) const {
    archive.write("value", c10::IValue(value));
  }
  void load(torch::serialize::InputArchive& archive) {
    c10::IValue read;
    archive.read("value", read);
    value = read.toInt();
    torch::rand({3});
    if (throws) {
      throws = false;  // so that it can be put back
      throw std::runtime_error("no mood");
    }
  }
  int64_t value = 0;
  bool throws = false;
};

TEST_F(CheckpointFit, PutsEverythingBackWhereALoadThrows) {
  Moody saved{1, false};
  Moody moody{2, true};
  save_checkpoint(path, source.checkpoint().state("moody", saved));
  EXPECT_EQ(
      refusal_of(std::move(target.checkpoint().state("moody", moody))),
      "load_checkpoint: " + path + ": state 'moody': no mood");
  EXPECT_EQ(moody.value, 2);
}

TEST_F(CheckpointFit, LeavesTheRandomStateOutIfAsked) {
  Checkpoint checkpoint = source.checkpoint();
  checkpoint.random_state(false);
  save_checkpoint(path, checkpoint);
  EXPECT_FALSE(read_checkpoint_info(path).random_state);
  torch::manual_seed(99);
  const auto expected = torch::rand({4});
  torch::manual_seed(99);
  Checkpoint loaded = target.checkpoint();
  loaded.random_state(false);
  load_checkpoint(path, loaded);
  EXPECT_TRUE(torch::equal(torch::rand({4}), expected));
  // Who asks for it is not left without it silently.
  EXPECT_EQ(
      refusal_of(target.checkpoint()),
      refused("the random state: is not in the file; random_state(false) does "
              "without it"));
}

// A step that keeps nothing, and says nothing in its save().
struct Mute : torch::optim::Optimizer {
  explicit Mute(std::vector<torch::Tensor> parameters)
      : Optimizer(
            std::move(parameters),
            std::make_unique<torch::optim::SGDOptions>(0.1)) {}
  torch::Tensor step(LossClosure) override { return {}; }
  void save(torch::serialize::OutputArchive&) const override {}
  void load(torch::serialize::InputArchive&) override {}
};

TEST_F(CheckpointFit, RefusesAnOptimizerThatSavesNothing) {
  Mute mute({test::leaf({1})});
  Checkpoint checkpoint;
  checkpoint.optimizer("mute", mute);
  EXPECT_THAT(
      message_of([&] { save_checkpoint(folder.file("mute"), checkpoint); }),
      HasSubstr("which saves nothing"));
  EXPECT_FALSE(std::filesystem::exists(folder.file("mute")));
}

TEST_F(CheckpointFit, CarriesEveryBitOfATensor) {
  torch::Tensor values = torch::tensor(
      {std::nan("1"), -0.0, 1.0 / 3, 1e-310, HUGE_VAL}, torch::kFloat64);
  torch::Tensor view = values.slice(0, 1, 4);
  torch::Tensor none;
  Checkpoint checkpoint;
  checkpoint.tensor("values", values).tensor("view", view).tensor("none", none);
  save_checkpoint(path, checkpoint);
  const auto expected = values.clone();
  values = torch::zeros({2});
  view = torch::Tensor();
  none = torch::ones({1});
  load_checkpoint(path, checkpoint);
  EXPECT_TRUE(
      torch::equal(values.view(torch::kInt64), expected.view(torch::kInt64)));
  EXPECT_TRUE(torch::equal(view, expected.slice(0, 1, 4)));
  EXPECT_EQ(view.storage().nbytes(), 24U);
  EXPECT_FALSE(none.defined());
}

}  // namespace
}  // namespace stepsize
