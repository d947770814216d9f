#include "examples/trainer/cli/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "examples/trainer/cli/optimizer_options.h"
#include "examples/trainer/cli/unknown_options.h"
#include "examples/trainer/loop/optimizer_table.h"

namespace stepsize::trainer {
namespace {

using testing::AllOf;
using testing::AnyOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::MatchesRegex;

CommandLine parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "stepsize-train");
  return parse_command_line(
      static_cast<int>(arguments.size()), arguments.data());
}

std::string refusal(const std::vector<const char*>& arguments) {
  testing::internal::CaptureStderr();
  const auto command = parse(arguments);
  const std::string message = testing::internal::GetCapturedStderr();
  EXPECT_EQ(command.exit_status, kBadCommandLine) << message;
  return message;
}

TEST(ParseCommandLine, DefaultsToTheFashionMnistDemo) {
  const auto command = parse({});
  ASSERT_FALSE(command.exit_status);
  EXPECT_EQ(command.options.dataset, "fashion-mnist");
  EXPECT_EQ(command.options.data_dir, "/usr/share/datasets/fashion-mnist");
  EXPECT_EQ(command.options.model, "cnn");
  EXPECT_EQ(command.options.schedule, "warmup 10% > cosine 90%");
}

TEST(ParseCommandLine, TakesDefaultsFromDatasetAndOptimizer) {
  const auto command = parse(
      {"--dataset", "cifar10", "--data-dir", "d", "--optimizer", "adamw"});
  ASSERT_FALSE(command.exit_status);
  EXPECT_EQ(command.options.epochs, 10);
  EXPECT_NE(command.options.augment, "none");
  EXPECT_EQ(command.options.lr, 0.003);
}

TEST(ParseCommandLine, LetsTheUserOverrideEveryDefault) {
  const auto command =
      parse({"--data-dir",     "d",         "--model",       "resnet20",
             "--augment",      "crop-flip", "--optimizer",   "rmsprop",
             "--lr",           "0.5",       "--momentum",    "0.25",
             "--weight-decay", "0",         "--schedule",    "constant",
             "--epochs",       "7",         "--batch-size",  "9",
             "--seed",         "11",        "--threads",     "1",
             "--device",       "cuda:1",    "--limit-train", "100",
             "--out",          "o",         "--profile"});
  ASSERT_FALSE(command.exit_status);
  const auto& options = command.options;
  EXPECT_EQ(options.data_dir, "d");
  EXPECT_EQ(options.model, "resnet20");
  EXPECT_EQ(options.augment, "crop-flip");
  EXPECT_EQ(options.optimizer, "rmsprop");
  EXPECT_EQ(options.lr, 0.5);
  EXPECT_EQ(options.momentum, 0.25);
  EXPECT_EQ(options.weight_decay, 0);
  EXPECT_EQ(options.schedule, "constant");
  EXPECT_EQ(options.epochs, 7);
  EXPECT_EQ(options.batch_size, 9);
  EXPECT_EQ(options.seed, 11U);
  EXPECT_EQ(options.threads, 1);
  EXPECT_EQ(options.device, "cuda:1");
  EXPECT_EQ(options.limit_train, 100);
  EXPECT_EQ(options.out, "o");
  EXPECT_TRUE(options.profile);
}

TEST(ParseCommandLine, NamesOptionRuleAndValueOfABadNumber) {
  EXPECT_THAT(
      refusal({"--lr", "-1"}),
      AllOf(HasSubstr("--lr"), HasSubstr("> 0"), HasSubstr("-1")));
  EXPECT_THAT(refusal({"--lr", "nan"}), HasSubstr("nan"));
  EXPECT_THAT(refusal({"--lr", "inf"}), HasSubstr("inf"));
  EXPECT_THAT(refusal({"--lr", "fast"}), HasSubstr("fast"));
  EXPECT_THAT(refusal({"--momentum", "1"}), HasSubstr("[0, 1)"));
  EXPECT_THAT(refusal({"--weight-decay", "-0.5"}), HasSubstr(">= 0"));
  for (const auto* option : {"--epochs", "--batch-size", "--limit-train"}) {
    EXPECT_THAT(
        refusal({option, "0"}),
        AllOf(HasSubstr(option), HasSubstr("in 1 .. ")));
    EXPECT_THAT(refusal({option, "1.5"}), HasSubstr("1.5"));
  }
  EXPECT_THAT(refusal({"--threads", "0"}), HasSubstr("--threads"));
  for (const auto* seed : {"x", "-1", "1.0", "4294967296", "0x10", "0123"}) {
    EXPECT_THAT(
        refusal({"--seed", seed}),
        AllOf(HasSubstr("--seed"), HasSubstr("in 0 .. "), HasSubstr(seed)));
  }
  EXPECT_THAT(
      refusal({"--epochs", "99999999999999999999"}), HasSubstr("--epochs"));
  // Not eight.
  EXPECT_THAT(refusal({"--epochs", "010"}), HasSubstr("010"));
}

TEST(ParseCommandLine, TakesARateOrTheWordAuto) {
  EXPECT_FALSE(parse({}).options.lr_given);
  const auto given = parse({"--lr", "2.5e-1"}).options;
  EXPECT_TRUE(given.lr_given);
  EXPECT_FALSE(given.lr_auto);
  EXPECT_EQ(given.lr, 0.25);
  EXPECT_TRUE(given.lr_check);
  EXPECT_FALSE(parse({"--no-lr-check"}).options.lr_check);
  const auto found = parse({"--lr", "auto"}).options;
  EXPECT_TRUE(found.lr_auto);
  EXPECT_FALSE(found.lr_given);
  EXPECT_TRUE(parse({"--lr-find"}).options.lr_find);
  EXPECT_THAT(
      refusal({"--lr", "Auto"}),
      AllOf(HasSubstr("--lr"), HasSubstr("> 0 or auto"), HasSubstr("Auto")));
  for (const auto* option :
       {"--lr=auto", "--lr-find", "--base-batch-size=64"}) {
    EXPECT_THAT(
        refusal({"--optimizer", "power-sgd", option}),
        HasSubstr("power-sgd measures its rate"));
  }
}

TEST(ParseCommandLine, TakesASearch) {
  const auto options = parse({"--search", "15"}).options;
  EXPECT_EQ(options.search, 15);
  EXPECT_TRUE(options.lr_auto);
  EXPECT_EQ(options.lr, 0);
  EXPECT_EQ(parse({}).options.search, 0);
  EXPECT_EQ(parse({"--search", "3", "--lr", "auto"}).options.search, 3);
  EXPECT_THAT(refusal({"--search", "0"}), HasSubstr("in 1 .. "));
  EXPECT_THAT(
      refusal({"--search", "3", "--lr", "0.1"}),
      HasSubstr("--search: looks for the rate, and --lr names one"));
  EXPECT_THAT(
      refusal({"--search", "3", "--optimizer", "power-sgd"}),
      HasSubstr("power-sgd measures its rate"));
  for (const std::vector<const char*>& more :
       {std::vector<const char*>{"--lr-find"},
        {"--base-batch-size", "64"},
        {"--batch-schedule", "512"},
        {"--world-size", "2"}}) {
    std::vector<const char*> words = {"--search", "3"};
    words.insert(words.end(), more.begin(), more.end());
    EXPECT_NE(refusal(words), "") << more[0];
  }
}

TEST(ParseCommandLine, TakesBatchesAndTheirScaling) {
  const auto options = parse({"--accumulate",
                              "4",
                              "--base-batch-size",
                              "32",
                              "--lr-scaling",
                              "sqrt",
                              "--batch-schedule",
                              "512",
                              "--early-stop",
                              "3"})
                           .options;
  EXPECT_EQ(options.accumulate, 4);
  EXPECT_EQ(options.base_batch_size, 32);
  EXPECT_EQ(options.lr_scaling, "sqrt");
  EXPECT_EQ(options.batch_schedule, 512);
  EXPECT_EQ(options.early_stop, 3);
  EXPECT_EQ(parse({}).options.lr_scaling, "linear");
  EXPECT_EQ(parse({"--optimizer", "adamw"}).options.lr_scaling, "sqrt");
  for (const auto* option :
       {"--accumulate",
        "--base-batch-size",
        "--batch-schedule",
        "--early-stop"}) {
    EXPECT_THAT(
        refusal({option, "0"}),
        AllOf(HasSubstr(option), HasSubstr("in 1 .. ")));
  }
  EXPECT_THAT(
      refusal({"--lr-scaling", "cubic", "--base-batch-size", "8"}),
      HasSubstr("cubic"));
  EXPECT_THAT(refusal({"--lr-scaling", "sqrt"}), HasSubstr("neither is given"));
  for (const auto* option : {"--lr=auto", "--lr-find"}) {
    EXPECT_THAT(
        refusal({"--base-batch-size", "64", option}),
        HasSubstr("--base-batch-size"));
  }
  EXPECT_THAT(
      refusal({"--batch-schedule", "300", "--accumulate", "3"}),
      AllOf(HasSubstr("--batch-schedule"), HasSubstr("384, got 300")));
}

TEST(ParseCommandLine, GivesOptionsToTheOptimizersThatHaveThem) {
  const auto clipped =
      parse({"--optimizer", "clipped-sgd", "--max-norm", "2.5"}).options;
  EXPECT_EQ(clipped.max_norm, 2.5);
  EXPECT_FALSE(clipped.safety);
  EXPECT_TRUE(parse({"--optimizer", "clipped-adamw"}).options.max_norm);
  const auto power =
      parse({"--optimizer", "power-sgd", "--safety", "1.25"}).options;
  EXPECT_EQ(power.safety, 1.25);
  EXPECT_FALSE(power.max_norm);
  EXPECT_EQ(power.policy, "edge");
  EXPECT_EQ(parse({"--optimizer", "power-sgd"}).options.safety, 1);
  const auto sharp =
      parse({"--optimizer", "power-sgd", "--policy", "sharpness"}).options;
  EXPECT_EQ(sharp.policy, "sharpness");
  EXPECT_EQ(sharp.safety, 0.5);
  // A factor of the rate that is measured.
  EXPECT_EQ(parse({"--optimizer", "power-sgd"}).options.lr, 1);
  const auto plain = parse({"--optimizer", "rollback-sgd"}).options;
  EXPECT_FALSE(plain.max_norm);
  EXPECT_FALSE(plain.safety);
  EXPECT_FALSE(plain.policy);
  const auto sgd = parse({}).options;
  EXPECT_EQ(plain.lr, sgd.lr);
  EXPECT_EQ(plain.momentum, sgd.momentum);
  EXPECT_EQ(plain.weight_decay, sgd.weight_decay);
}

TEST(ParseCommandLine, RefusesOptionsThatTheOptimizerHasNoUseFor) {
  for (const std::string& name : optimizer_names()) {
    if (name == "clipped-sgd" || name == "clipped-adamw") continue;
    EXPECT_THAT(
        refusal({"--max-norm", "1", "--optimizer", name.c_str()}),
        AllOf(
            HasSubstr("--max-norm: is an option of clipped-adamw and "
                      "clipped-sgd"),
            HasSubstr("--optimizer is " + name)));
  }
  for (const std::string& name : optimizer_names()) {
    if (name == "power-sgd") continue;
    EXPECT_THAT(
        refusal({"--safety", "0.5", "--optimizer", name.c_str()}),
        AllOf(
            HasSubstr("--safety: is an option of power-sgd"),
            HasSubstr("--optimizer is " + name)));
    EXPECT_THAT(
        refusal({"--policy", "edge", "--optimizer", name.c_str()}),
        AllOf(
            HasSubstr("--policy: is an option of power-sgd"),
            HasSubstr("--optimizer is " + name)));
  }
}

TEST(ParseCommandLine, RefusesARateToBeFoundWhereTheOptimizerFindsItself) {
  for (const auto& row : optimizer_rows()) {
    SCOPED_TRACE(row.name);
    const std::vector<const char*> words{
        "--optimizer", row.name.c_str(), "--lr", "auto"};
    if (row.finds_rate.empty()) {
      EXPECT_FALSE(parse(words).exit_status);
    } else {
      EXPECT_THAT(
          refusal(words),
          HasSubstr(
              "--lr: cannot be auto: --optimizer " + row.name + " " +
              row.finds_rate));
    }
  }
}

TEST(ParseCommandLine, TakesAMomentumWhereThereIsOne) {
  EXPECT_EQ(
      parse({"--optimizer", "muon", "--momentum", "0.5"}).options.momentum,
      0.5);
  EXPECT_THAT(
      refusal({"--optimizer", "dog", "--momentum", "0.5"}),
      HasSubstr("--momentum: is of no use: dog has none"));
  EXPECT_THAT(
      refusal({"--optimizer", "schedule-free-sgd", "--momentum", "0"}),
      HasSubstr("--momentum: must be > 0 for schedule-free-sgd, got 0"));
  EXPECT_THAT(
      refusal({"--rho", "0.1"}),
      HasSubstr("--rho: is an option of sam-sgd, and --optimizer is sgd"));
  EXPECT_EQ(parse({"--optimizer", "sam-sgd", "--rho", "0"}).options.rho, 0);
}

TEST(ParseCommandLine, TakesAStateTypeWhereTheOptimizerHasThem) {
  EXPECT_EQ(parse({}).options.state_type, "float32");
  for (const auto* name : {"clipped-sgd", "clipped-adamw", "lion"}) {
    EXPECT_EQ(
        parse({"--optimizer", name, "--state-type", "8bit"}).options.state_type,
        "8bit");
  }
  EXPECT_THAT(
      refusal({"--state-type", "bfloat16"}),
      HasSubstr("--state-type: must be float32, as it is an option of "
                "clipped-adamw and clipped-sgd and lion, and --optimizer is "
                "sgd"));
  EXPECT_THAT(
      refusal({"--optimizer", "lion", "--state-type", "4bit"}),
      HasSubstr("--state-type"));
}

TEST(ParseCommandLine, RefusesNormAndSafetyOutOfRange) {
  for (const auto* value : {"0", "-1", "nan", "inf", "long"}) {
    EXPECT_THAT(
        refusal({"--optimizer", "clipped-sgd", "--max-norm", value}),
        AllOf(HasSubstr("--max-norm"), HasSubstr("> 0"), HasSubstr(value)));
    EXPECT_THAT(
        refusal({"--optimizer", "power-sgd", "--safety", value}),
        AllOf(HasSubstr("--safety"), HasSubstr("> 0"), HasSubstr(value)));
  }
}

TEST(ParseCommandLine, RefusesFoldersWithoutAName) {
  EXPECT_THAT(refusal({"--out", ""}), HasSubstr("--out"));
  EXPECT_THAT(refusal({"--data-dir", ""}), HasSubstr("--data-dir"));
}

TEST(ParseCommandLine, RefusesOptionsOfSeveralProcessesWithoutTheirNumber) {
  for (const auto* option :
       {"--rank=0", "--rank=1", "--master=127.0.0.1:2900", "--timeout=5"}) {
    EXPECT_THAT(
        refusal({option}),
        AllOf(
            HasSubstr(std::string(option, std::strchr(option, '='))),
            HasSubstr("wants --world-size")));
    EXPECT_THAT(refusal({"--resume", option}), HasSubstr("--world-size"));
    // As the script starts one process.
    EXPECT_FALSE(parse({"--world-size", "1", option}).exit_status);
  }
}

// Variables of a launcher, gone at the end.
class Launched {
 public:
  explicit Launched(const std::map<std::string, std::string>& variables)
      : variables_(variables) {
    for (const auto& [name, value] : variables_) {
      setenv(name.c_str(), value.c_str(), 1);
    }
  }
  ~Launched() {
    for (const auto& variable : variables_) unsetenv(variable.first.c_str());
  }
  Launched(const Launched&) = delete;
  Launched& operator=(const Launched&) = delete;

 private:
  std::map<std::string, std::string> variables_;
};

TEST(ParseCommandLine, TakesItsPlaceFromALauncher) {
  const Launched launched(
      {{"RANK", "2"},
       {"WORLD_SIZE", "3"},
       {"LOCAL_RANK", "1"},
       {"MASTER_ADDR", "10.0.0.7"},
       {"MASTER_PORT", "2900"}});
  const auto command = parse({"--timeout", "5"});
  EXPECT_FALSE(command.exit_status);
  EXPECT_EQ(command.options.world_size, 3);
  EXPECT_EQ(command.options.rank, 2);
  EXPECT_EQ(command.options.local_rank, 1);
  EXPECT_EQ(command.options.master, "10.0.0.7:2900");
  EXPECT_EQ(command.given.size(), 1U);
  for (const auto* option : {"--compare", "--evaluate"}) {
    EXPECT_THAT(
        refusal({option, "a"}),
        AllOf(
            HasSubstr(std::string(option) + ": is for one process"),
            HasSubstr("a launcher has started 3")));
  }
  // What the command line says counts.
  const auto own = parse({"--world-size", "2", "--master", "host:1"}).options;
  EXPECT_EQ(own.world_size, 2);
  EXPECT_EQ(own.rank, 0);
  EXPECT_FALSE(own.local_rank);
  EXPECT_EQ(own.master, "host:1");
}

TEST(ParseCommandLine, IsAloneWhereALauncherStartsOne) {
  const Launched launched(
      {{"RANK", "0"},
       {"WORLD_SIZE", "1"},
       {"MASTER_ADDR", "host"},
       {"MASTER_PORT", "2900"}});
  EXPECT_EQ(parse({}).options.master, "");
  EXPECT_FALSE(parse({"--timeout", "5"}).exit_status);
  EXPECT_EQ(parse({"--timeout", "5"}).given.count("--world-size"), 0);
}

TEST(ParseCommandLine, RefusesALauncherThatIsCutOff) {
  const std::map<std::string, std::string> cut_off{{"RANK", "0"}};
  const Launched launched(cut_off);
  EXPECT_THAT(refusal({}), HasSubstr("RANK is set and WORLD_SIZE is not"));
}

TEST(ParseCommandLine, GivesAnEnsembleItsCycles) {
  EXPECT_EQ(parse({}).options.ensemble, 0);
  const auto options = parse({"--ensemble", "4", "--epochs", "10"}).options;
  EXPECT_EQ(options.ensemble, 4);
  EXPECT_EQ(options.schedule, "warmup 0.25ep * cosine_restarts 2.5ep");
  EXPECT_EQ(
      parse({"--ensemble", "2", "--schedule", "cosine_restarts 50%"})
          .options.schedule,
      "cosine_restarts 50%");
  const auto refused = [](std::vector<const char*> more) {
    more.insert(more.begin(), {"--ensemble", "2"});
    return refusal(more);
  };
  for (const auto* name :
       {"dog", "prodigy", "power-sgd", "schedule-free-sgd"}) {
    EXPECT_THAT(
        refused({"--optimizer", name}),
        AllOf(HasSubstr("--ensemble: wants an optimizer"), HasSubstr(name)));
  }
  EXPECT_THAT(refused({"--early-stop", "1"}), HasSubstr("--early-stop"));
  EXPECT_THAT(refused({"--batch-schedule", "999"}), HasSubstr("--ensemble"));
  EXPECT_THAT(refused({"--lr-find"}), HasSubstr("--ensemble"));
  EXPECT_THAT(
      refused({"--epochs", "1"}),
      HasSubstr("wants an epoch a cycle at least, and --epochs is 1"));
  EXPECT_THAT(refusal({"--ensemble", "1"}), HasSubstr("--ensemble"));
}

TEST(ParseCommandLine, WatchesTheCurvatureOnRequest) {
  EXPECT_EQ(parse({}).options.monitor, "");
  const auto options = parse({"--monitor", "curvature"}).options;
  EXPECT_EQ(options.monitor, "curvature");
  EXPECT_EQ(options.monitor_every, 100);
  EXPECT_EQ(options.monitor_budget, 0);
  EXPECT_THAT(
      refusal({"--monitor", "weights"}),
      AllOf(HasSubstr("--monitor"), HasSubstr("weights")));
  EXPECT_THAT(
      refusal({"--monitor-every", "5"}),
      HasSubstr("--monitor-every: says how often --monitor measures"));
  EXPECT_THAT(
      refusal({"--monitor-budget", "5"}),
      HasSubstr("--monitor-budget: says what --monitor may take"));
  EXPECT_THAT(
      refusal({"--monitor", "curvature", "--monitor-budget", "-1"}),
      HasSubstr("--monitor-budget"));
  EXPECT_THAT(
      refusal({"--monitor", "curvature", "--monitor-every", "0"}),
      HasSubstr("--monitor-every"));
  EXPECT_THAT(
      refusal({"--monitor", "curvature", "--lr-find"}),
      HasSubstr("--monitor: is of no use with --lr-find"));
  EXPECT_THAT(
      refusal({"--monitor", "curvature", "--world-size", "2"}),
      HasSubstr("--monitor: is for one process, and --world-size is 2"));
}

TEST(ParseCommandLine, ComputesInBFloat16OnRequest) {
  EXPECT_EQ(parse({}).options.amp, "off");
  EXPECT_EQ(parse({"--amp", "bf16"}).options.amp, "bf16");
  EXPECT_THAT(
      refusal({"--amp", "fp16"}),
      HasSubstr("--amp: must be one of off, bf16, got fp16"));
  for (const auto* optimizer : {"adahessian", "sophia-h"}) {
    EXPECT_THAT(
        refusal({"--amp", "bf16", "--optimizer", optimizer}),
        HasSubstr(
            std::string("--amp: must be off with --optimizer ") + optimizer +
            ", which takes second derivatives, got bf16"));
    EXPECT_FALSE(parse({"--amp", "off", "--optimizer", optimizer}).exit_status);
  }
  for (const auto& policy : policy_names()) {
    const std::vector<const char*> words{
        "--amp",
        "bf16",
        "--optimizer",
        "power-sgd",
        "--policy",
        policy.c_str()};
    if (policy == "sharpness") {
      EXPECT_THAT(
          refusal(words),
          HasSubstr("--amp: must be off with --optimizer power-sgd --policy "
                    "sharpness, which takes second derivatives, got bf16"));
    } else {
      EXPECT_FALSE(parse(words).exit_status) << policy;
    }
  }
  EXPECT_THAT(
      refusal({"--evaluate", "a", "--amp", "bf16"}),
      HasSubstr("--amp: is of no use with --evaluate"));
}

TEST(ParseCommandLine, RefusesUnknownNames) {
  EXPECT_THAT(refusal({"--dataset", "imagenet"}), HasSubstr("imagenet"));
  EXPECT_THAT(refusal({"--model", "vgg"}), HasSubstr("vgg"));
  EXPECT_THAT(refusal({"--optimizer", "adagrad"}), HasSubstr("adagrad"));
  EXPECT_THAT(refusal({"--augment", "all"}), HasSubstr("all"));
  EXPECT_THAT(refusal({"--momentun", "0.9"}), HasSubstr("--momentun"));
}

TEST(ParseCommandLine, AsksForTheFolderOfCifar) {
  EXPECT_THAT(
      refusal({"--dataset", "cifar10"}),
      AllOf(HasSubstr("--data-dir"), HasSubstr("cifar10")));
}

// What goes to the terminal before the program ends.
std::string printed(const char* option) {
  testing::internal::CaptureStdout();
  const auto command = parse({option});
  EXPECT_EQ(command.exit_status, 0);
  return testing::internal::GetCapturedStdout();
}

void expect_narrow(const std::string& text) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    // Newer versions of CLI11 leave a space where they break a line.
    EXPECT_LE(line.find_last_not_of(' ') + 1, 79U) << line;
  }
}

std::set<std::string> options_at_line_starts(const std::string& text) {
  std::set<std::string> names;
  // Newer versions of CLI11 leave room for short options.
  const std::regex pattern("(^|\n) {2,8}(-h, *)?(--[a-z-]+)");
  for (std::sregex_iterator at(text.begin(), text.end(), pattern), end;
       at != end;
       ++at) {
    names.insert((*at)[3]);
  }
  return names;
}

TEST(ParseCommandLine, HelpIsShortAndTrue) {
  const std::string help = printed("--help");
  EXPECT_EQ(printed("-h"), help);
  EXPECT_LE(std::count(help.begin(), help.end(), '\n'), 45);
  expect_narrow(help);
  const auto all = options_at_line_starts(printed("--help-all"));
  EXPECT_EQ(all.count("--accumulate"), 1U);
  const auto named = options_at_line_starts(help);
  EXPECT_GE(named.size(), 18U);
  for (const auto& option : named) {
    EXPECT_EQ(all.count(option), 1U) << option;
  }
  const TrainOptions defaults;
  EXPECT_THAT(
      help,
      AllOf(
          HasSubstr("[" + std::to_string(defaults.batch_size) + "]"),
          HasSubstr("[\"" + defaults.schedule + "\"]"),
          HasSubstr("--help-all")));
}

TEST(ParseCommandLine, SaysTheVersions) {
  EXPECT_THAT(
      printed("--version"),
      MatchesRegex("stepsize-train [0-9.]+ \\(LibTorch [0-9.]+.*\\)\n"));
}

// Debian's 1.13.1 says in its headers that it is 1.13.0.
TEST(ParseCommandLine, SaysTheVersionThatThePackageHas) {
  if (std::string(STEPSIZE_TORCH_DIR).rfind("/usr/lib/", 0) != 0) {
    GTEST_SKIP() << "this LibTorch is no package's";
  }
  std::string package(80, '\0');
  std::FILE* answer = popen("dpkg-query -W -f '${Version}' libtorch-dev", "r");
  ASSERT_NE(answer, nullptr);
  package.resize(std::fread(package.data(), 1, package.size(), answer));
  if (pclose(answer) != 0) {
    GTEST_SKIP() << "there is no package libtorch-dev";
  }
  // "1.13.1+dfsg-4", after an epoch perhaps.
  std::smatch version;
  ASSERT_TRUE(std::regex_search(
      package, version, std::regex("^(?:[0-9]+:)?([0-9]+[.][0-9]+[.][0-9]+)")))
      << package;
  EXPECT_THAT(
      printed("--version"), HasSubstr("(LibTorch " + version[1].str() + ")\n"));
}

TEST(ParseCommandLine, NamesUnknownOptionsInOrderWithWhatMayBeMeant) {
  EXPECT_THAT(
      refusal({"--epoch", "3"}),
      HasSubstr("unknown option --epoch 3; did you mean --epochs?\n"));
  EXPECT_THAT(
      refusal({"--epoch=3"}),
      HasSubstr("unknown option --epoch=3; did you mean --epochs?\n"));
  EXPECT_THAT(
      refusal({"7", "--bach-size", "64", "--lr", "1", "--colour", "-x"}),
      HasSubstr("unexpected word '7'\n"
                "unknown option --bach-size 64; did you mean --batch-size?\n"
                "unknown option --colour\n"
                "unknown option -x\n"));
  EXPECT_THAT(
      refusal({"--batch", "64"}),
      AllOf(
          HasSubstr("--batch-size"),
          HasSubstr(" or "),
          HasSubstr("--batch-schedule")));
}

TEST(SimilarNames, AreThoseThatBeginAlikeOrTheNearest) {
  const std::vector<std::string> names{"--lr", "--lr-find", "--model", "--out"};
  EXPECT_THAT(similar_names("--lr-", names), ElementsAre("--lr-find"));
  EXPECT_THAT(similar_names("--modle", names), ElementsAre());
  EXPECT_THAT(similar_names("--modell", names), ElementsAre("--model"));
  EXPECT_THAT(similar_names("--oud", names), ElementsAre("--out"));
  EXPECT_THAT(similar_names("--in", names), ElementsAre());
}

TEST(ParseCommandLine, TakesWhatIsNoRun) {
  const auto compared = parse({"--compare", "a", "b", "--out", "o"});
  ASSERT_FALSE(compared.exit_status);
  EXPECT_THAT(compared.compare, ElementsAre("a", "b"));
  EXPECT_EQ(compared.options.out, "o");
  const auto evaluated =
      parse({"--evaluate", "c", "--export", "w", "--data-dir", "d"});
  ASSERT_FALSE(evaluated.exit_status);
  EXPECT_EQ(evaluated.evaluate, "c");
  EXPECT_EQ(evaluated.options.export_file, "w");
  EXPECT_THAT(
      refusal({"--compare", "a", "--epochs", "3"}),
      HasSubstr("--epochs: is of no use with --compare"));
  EXPECT_THAT(
      refusal({"--evaluate", "a", "--model", "cnn"}),
      HasSubstr("--model: is of no use with --evaluate"));
  EXPECT_THAT(
      refusal({"--lr-find", "--export", "w"}),
      HasSubstr("--export: is of no use with --lr-find"));
  EXPECT_THAT(
      refusal({"--lr-find", "--tensorboard", "d"}),
      HasSubstr("--tensorboard: is of no use with --lr-find"));
  EXPECT_EQ(parse({"--tensorboard", "d"}).options.tensorboard, "d");
  EXPECT_THAT(refusal({"--compare"}), HasSubstr("--compare"));
}

TEST(ParseCommandLine, ReplacesOnlyAFolderThatIsNamed) {
  EXPECT_TRUE(parse({}).options.out.empty());
  EXPECT_TRUE(parse({"--out", "o", "--overwrite"}).overwrite);
  EXPECT_THAT(refusal({"--overwrite"}), HasSubstr("--overwrite: wants --out"));
}

TEST(ParseCommandLine, HelpShowsCommandsAndSchedules) {
  const std::string help = printed("--help-all");
  for (const auto* part :
       {"--schedule",
        "stepsize-train --dataset cifar10",
        "warmup 10% > cosine 90%",
        "log.csv"}) {
    EXPECT_THAT(help, HasSubstr(part));
  }
  // However the lines are broken.
  EXPECT_THAT(
      std::regex_replace(help, std::regex("\\s+"), " "),
      HasSubstr("Exit status: 0 done, 1 something given cannot be used, 2 the "
                "command line is wrong, 3 the loss diverged, 4 another process "
                "was lost, 130 ended by Ctrl-C, 143 by SIGTERM."));
  expect_narrow(help);
}

// The words of the line that begins with the name.
std::vector<std::string> words_after(
    const std::string& text, const std::string& name) {
  const auto at = text.find("\n  " + name + ' ');
  EXPECT_NE(at, std::string::npos) << name;
  std::istringstream line(text.substr(at, text.find('\n', at + 1) - at));
  return {std::istream_iterator<std::string>(line), {}};
}

TEST(ParseCommandLine, HelpSaysTheDefaultsOfEachOptimizer) {
  const std::string help = printed("--help-all");
  const std::string table = help.substr(help.find("\nOptimizers"));
  const auto text_of = [](double value) {
    std::ostringstream text;
    text << value;
    return text.str();
  };
  for (const auto& row : optimizer_rows()) {
    SCOPED_TRACE(row.name);
    EXPECT_LE(row.about.size(), 27U);
    const auto options = parse({"--optimizer", row.name.c_str()}).options;
    std::vector<std::string> wanted{row.name, text_of(options.lr)};
    if (row.momentum) wanted.push_back(text_of(options.momentum));
    wanted.push_back(text_of(options.weight_decay));
    wanted.push_back(options.lr_scaling);
    auto words = words_after(table, row.name);
    ASSERT_GT(words.size(), wanted.size());
    words.resize(wanted.size());
    EXPECT_EQ(words, wanted);
    // The others stand with their options, however the lines are broken.
    const std::string flat = std::regex_replace(help, std::regex("\\s+"), " ");
    for (const auto& value : {options.max_norm, options.safety, options.rho}) {
      if (!value) continue;
      const std::string entry = row.name + ": " + text_of(*value);
      EXPECT_THAT(
          flat,
          AnyOf(
              HasSubstr(" " + entry + ","),
              HasSubstr(" " + entry + "]"),
              HasSubstr("[" + entry + ","),
              HasSubstr("[" + entry + "]"),
              HasSubstr("[" + entry + ";")));
    }
    const std::string schedule = row.name + ": " + options.schedule;
    const bool is_usual = options.schedule == TrainOptions().schedule;
    EXPECT_EQ(flat.find(schedule) == std::string::npos, is_usual);
  }
}

}  // namespace
}  // namespace stepsize::trainer
