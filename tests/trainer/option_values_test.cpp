#include "examples/trainer/cli/option_values.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "sample_files.h"

namespace stepsize::trainer {
namespace {

using testing::AllOf;
using testing::HasSubstr;

CommandLine read_arguments(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "stepsize-train");
  return parse_command_line(
      static_cast<int>(arguments.size()), arguments.data());
}

TEST(OptionValues, AreTheSameRunAgain) {
  const std::vector<std::vector<const char*>> command_lines{
      {},
      {"--optimizer", "power-sgd", "--safety", "0.3", "--threads", "2"},
      {"--optimizer", "power-sgd", "--policy", "secant"},
      {"--optimizer", "clipped-adamw", "--lr", "1e-3", "--seed", "4294967295"},
      {"--lr", "auto", "--early-stop", "3", "--checkpoint-every", "0"},
      {"--base-batch-size", "32", "--lr-scaling", "sqrt", "--momentum", "0"},
      {"--batch-schedule", "512", "--limit-train", "100", "--data-dir", "a b"},
      {"--schedule", "warmup 10% > cosine = to 0.1"},
      {"--monitor", "curvature", "--monitor-every", "7"},
      {"--amp", "bf16"},
      {"--search", "7"},
      {"--optimizer", "lion", "--state-type", "8bit"},
      {"--monitor", "curvature", "--monitor-budget", "2.5"},
      {"--dataset", "cifar10", "--data-dir", "d", "--model", "resnet20"}};
  for (const auto& arguments : command_lines) {
    const auto options = read_arguments(arguments).options;
    const auto values = option_values(options);
    const auto again = options_from(values);
    EXPECT_EQ(option_values(again), values);
    // Spot checks of what the values themselves could hide.
    EXPECT_EQ(again.lr, options.lr);
    EXPECT_EQ(again.lr_auto, options.lr_auto);
    EXPECT_EQ(again.search, options.search);
    EXPECT_EQ(again.lr_scaling, options.lr_scaling);
    EXPECT_EQ(again.weight_decay, options.weight_decay);
    EXPECT_EQ(again.max_norm, options.max_norm);
    EXPECT_EQ(again.safety, options.safety);
    EXPECT_EQ(again.schedule, options.schedule);
    EXPECT_EQ(again.data_dir, options.data_dir);
    EXPECT_EQ(again.early_stop, options.early_stop);
    EXPECT_EQ(again.checkpoint_every, options.checkpoint_every);
    EXPECT_EQ(again.seed, options.seed);
    EXPECT_EQ(again.monitor, options.monitor);
    EXPECT_EQ(again.amp, options.amp);
    EXPECT_EQ(again.state_type, options.state_type);
    EXPECT_EQ(again.monitor_every, options.monitor_every);
    EXPECT_EQ(again.monitor_budget, options.monitor_budget);
  }
}

TEST(OptionValues, ThatNoCommandLineHasAreRefused) {
  testing::internal::CaptureStderr();
  EXPECT_THAT(
      message_of([] {
        options_from({{"--model", "abacus"}});
      }),
      HasSubstr("cannot be used"));
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("abacus"));
}

TEST(ResumedOptions, LetARunChangeWhatIsNotItsOwn) {
  const OptionValues had{
      {"--epochs", "2"}, {"--threads", "1"}, {"--lr", "0.1"}};
  const auto values = resumed_options(
      had,
      {{"--resume", "true"},
       {"--out", "o"},
       {"--overwrite", "true"},
       {"--profile", "true"},
       {"--epochs", "4"},
       {"--threads", "2"},
       {"--data-dir", "elsewhere"},
       {"--device", "cuda"},
       {"--checkpoint-every", "7"},
       {"--lr", "1e-1"}},
      "o");
  const OptionValues wanted{
      {"--epochs", "4"},
      {"--threads", "2"},
      {"--data-dir", "elsewhere"},
      {"--device", "cuda"},
      {"--checkpoint-every", "7"},
      {"--lr", "0.1"}};
  EXPECT_EQ(values, wanted);
}

TEST(ResumedOptions, RefuseAnotherRunWithBothValues) {
  const auto had = option_values(TrainOptions());
  const std::vector<std::pair<std::string, std::string>> others{
      {"--model", "resnet20"},
      {"--dataset", "cifar10"},
      {"--augment", "flip"},
      {"--optimizer", "adam"},
      {"--lr", "0.25"},
      {"--momentum", "0.25"},
      {"--weight-decay", "0.25"},
      {"--schedule", "constant"},
      {"--batch-size", "64"},
      {"--accumulate", "2"},
      {"--seed", "2"}};
  for (const auto& [flag, value] : others) {
    EXPECT_THAT(
        message_of([&] {
          resumed_options(had, {{flag, value}}, "runs/a");
        }),
        AllOf(
            HasSubstr(flag + " " + value),
            HasSubstr("runs/a has " + flag + " " + had.at(flag))));
  }
  for (const std::string flag :
       {"--max-norm",
        "--safety",
        "--limit-train",
        "--early-stop",
        "--base-batch-size",
        "--lr-scaling",
        "--batch-schedule"}) {
    EXPECT_THAT(
        message_of([&] {
          resumed_options(had, {{flag, "3"}}, "runs/a");
        }),
        HasSubstr("runs/a has no " + flag));
  }
}

// A record from before the option, and one of a run without it.
TEST(ResumedOptions, TakeNoAmpForOff) {
  const OptionValues had{{"--epochs", "2"}};
  EXPECT_EQ(options_from(had).amp, "off");
  EXPECT_EQ(
      option_values(read_arguments({"--amp", "off"}).options).count("--amp"),
      0U);
  EXPECT_EQ(resumed_options(had, {{"--amp", "off"}}, "o"), had);
  EXPECT_THAT(
      message_of([&] {
        resumed_options(had, {{"--amp", "bf16"}}, "runs/a");
      }),
      HasSubstr("runs/a has no --amp"));
}

TEST(ResumedOptions, CompareEveryDigitOfAWholeNumber) {
  // 2^53 and the next one, which is no double.
  EXPECT_THAT(
      message_of([] {
        resumed_options(
            {{"--seed", "9007199254740992"}},
            {{"--seed", "9007199254740993"}},
            "runs/a");
      }),
      HasSubstr("has --seed 9007199254740992"));
}

TEST(ParseCommandLine, DoesNotReplaceWhatIsToGoOn) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(
      read_arguments({"--resume", "--overwrite"}).exit_status, kBadCommandLine);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("--overwrite"));
}

TEST(ParseCommandLine, NeedsNoOtherOptionToResume) {
  // The dataset's folder would have to be given otherwise.
  const auto command = read_arguments(
      {"--resume", "--out", "o", "--dataset", "cifar10", "--epochs", "9"});
  EXPECT_FALSE(command.exit_status);
  EXPECT_TRUE(command.resume);
  EXPECT_EQ(command.options.out, "o");
  const OptionValues given{
      {"--resume", "true"},
      {"--out", "o"},
      {"--dataset", "cifar10"},
      {"--epochs", "9"}};
  EXPECT_EQ(command.given, given);
  testing::internal::CaptureStderr();
  EXPECT_EQ(
      read_arguments({"--resume", "--lr-find"}).exit_status, kBadCommandLine);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("--lr-find"));
}

}  // namespace
}  // namespace stepsize::trainer
