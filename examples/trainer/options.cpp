#include "options.h"

#include <CLI/CLI.hpp>

#include <cstdint>
#include <iostream>
#include <limits>
#include <map>
#include <sstream>
#include <vector>

#include "option_checks.h"

namespace stepsize::trainer {
namespace {

struct DatasetDefaults {
  const char* data_dir;  // empty: there is none
  const char* augment;
  std::int64_t epochs;
};

const std::map<std::string, DatasetDefaults>& dataset_defaults() {
  static const std::map<std::string, DatasetDefaults> defaults{
      {"fashion-mnist", {"/usr/share/datasets/fashion-mnist", "none", 2}},
      {"cifar10", {"", "flip", 10}},
      {"cifar100", {"", "flip", 10}},
  };
  return defaults;
}

struct OptimizerDefaults {
  double lr;
  double momentum;
  double weight_decay;
};

const std::map<std::string, OptimizerDefaults>& optimizer_defaults() {
  static const std::map<std::string, OptimizerDefaults> defaults{
      {"sgd", {0.1, 0.9, 5e-4}},
      {"adam", {0.003, 0.9, 0}},
      {"adamw", {0.003, 0.9, 0.05}},
      {"rmsprop", {0.001, 0, 0}},
  };
  return defaults;
}

template <typename Map>
std::vector<std::string> names(const Map& map) {
  std::vector<std::string> result;
  for (const auto& entry : map) {
    result.push_back(entry.first);
  }
  return result;
}

// No run is longer, and products of two such numbers can be counted.
constexpr std::uint64_t kMost = 1000000000;

constexpr const char* kDescription =
    "Trains a network on images, with its learning rate on a schedule.\n"
    "Without an option: a small network on Fashion-MNIST, in under two\n"
    "minutes on two cores.";

constexpr const char* kFooter = R"(
Examples:
  stepsize-train
  stepsize-train --optimizer adamw --schedule "warmup 200 > cosine to 0.01"
  stepsize-train --dataset cifar10 --data-dir ~/cifar-10-batches-bin
  stepsize-train --dataset cifar100 --data-dir ~/cifar-100-binary \
      --model resnet20 --epochs 60 --augment crop-flip --out runs/a

Schedules: the factor of --lr, curve after curve ("A > B" plays B after A,
"A * B" multiplies). A duration is a count of updates, epochs ("2ep") or a
share of the run ("10%"); one curve without a duration takes what is left.
  constant                           the rate stays as it is
  warmup 10% > cosine 90%            up in a line, down in half a cosine
  warmup 500 > cosine to 0.05        ends at a twentieth of the rate
  warmup 5% > constant for 75% > cooldown sqrt
                                     warm up, hold, cool down at the end
Whatever looks like a mistake in a schedule is said before the run starts.

Files in --out (those of an earlier run there are replaced):
  log.csv       one row an epoch: epoch, step, lr, train_loss,
                train_accuracy, test_loss, test_accuracy, images_per_second
  steps.csv     one row an update: step, lr, train_loss
  lr.svg, loss.svg, accuracy.svg
                the same as pictures

The same seed gives the same log on a CPU, images_per_second aside, as long
as --threads stays the same.

Exit status: 0 done, 1 something given cannot be used, 2 the command line
is wrong, 3 the loss diverged.)";

// What was left open on the command line; the rest goes to TrainOptions.
struct Open {
  std::optional<std::string> data_dir;
  std::optional<std::string> augment;
  std::optional<double> lr;
  std::optional<double> momentum;
  std::optional<double> weight_decay;
  std::optional<std::int64_t> epochs;
};

// "[sgd: 0.1, adam: 0.001]": what an option is where it is left out.
template <typename Map, typename Value>
std::string by_name(const Map& map, Value Map::mapped_type::*value) {
  std::ostringstream text;
  for (const auto& [name, defaults] : map) {
    text << (text.tellp() == 0 ? "[" : ", ") << name << ": " << defaults.*value;
  }
  return text.str() + "]";
}

template <typename Value>
std::string always(const Value& value) {
  std::ostringstream text;
  text << " [" << value << "]";
  return text.str();
}

void add_data_options(CLI::App& app, TrainOptions& options, Open& open) {
  const auto& defaults = dataset_defaults();
  app.add_option(
         "--dataset",
         options.dataset,
         "fashion-mnist, cifar10 or cifar100" + always(options.dataset))
      ->check(one_of(names(defaults)))
      ->type_name("NAME")
      ->group("Data");
  app.add_option(
         "--data-dir",
         open.data_dir,
         std::string("Folder with its files [fashion-mnist:\n") +
             defaults.at("fashion-mnist").data_dir +
             ", of Debian's package\n"
             "dataset-fashion-mnist; cifar10, cifar100: to be given]")
      ->check(not_empty())
      ->type_name("DIR")
      ->group("Data");
  app.add_option(
         "--augment",
         open.augment,
         "Change training images at random: none, flip (mirror\n"
         "half of them), or crop-flip (also move them by up to 4\n"
         "pixels)\n" +
             by_name(defaults, &DatasetDefaults::augment))
      ->check(one_of({"none", "flip", "crop-flip"}))
      ->type_name("NAME")
      ->group("Data");
  app.add_option(
         "--limit-train",
         options.limit_train,
         "Train on the first N images only [all]")
      ->check(whole_number(1, kMost))
      ->type_name("N")
      ->group("Data");
}

void add_optimizer_options(CLI::App& app, TrainOptions& options, Open& open) {
  const auto& defaults = optimizer_defaults();
  app.add_option(
         "--optimizer",
         options.optimizer,
         "sgd, adam, adamw or rmsprop" + always(options.optimizer))
      ->check(one_of(names(defaults)))
      ->type_name("NAME")
      ->group("Training");
  app.add_option(
         "--lr",
         open.lr,
         "The rate that the schedule multiplies\n" +
             by_name(defaults, &OptimizerDefaults::lr))
      ->check(number("> 0", [](double x) { return x > 0; }))
      ->type_name("X")
      ->group("Training");
  app.add_option(
         "--momentum",
         open.momentum,
         "Momentum; for adam and adamw, beta1\n" +
             by_name(defaults, &OptimizerDefaults::momentum))
      ->check(number("in [0, 1)", [](double x) { return x >= 0 && x < 1; }))
      ->type_name("X")
      ->group("Training");
  app.add_option(
         "--weight-decay",
         open.weight_decay,
         "Weight decay (decoupled from the gradient in adamw)\n" +
             by_name(defaults, &OptimizerDefaults::weight_decay))
      ->check(number(">= 0", [](double x) { return x >= 0; }))
      ->type_name("X")
      ->group("Training");
}

void add_training_options(CLI::App& app, TrainOptions& options, Open& open) {
  app.add_option(
         "--model",
         options.model,
         "cnn: three convolutions with BatchNorm; resnet20: the\n"
         "CIFAR form of He et al. 2016; resnet18: ResNet-18 with\n"
         "a 3x3 stem" +
             always(options.model))
      ->check(one_of({"cnn", "resnet20", "resnet18"}))
      ->type_name("NAME")
      ->group("Training");
  add_optimizer_options(app, options, open);
  app.add_option(
         "--schedule",
         options.schedule,
         "What multiplies the rate over the run, see below\n[" +
             options.schedule + "]")
      ->type_name("TEXT")
      ->group("Training");
  app.add_option(
         "--epochs",
         open.epochs,
         "Passes over the training images\n" +
             by_name(dataset_defaults(), &DatasetDefaults::epochs))
      ->check(whole_number(1, kMost))
      ->type_name("N")
      ->group("Training");
  app.add_option(
         "--batch-size",
         options.batch_size,
         "Images in an update" + always(options.batch_size))
      ->check(whole_number(1, kMost))
      ->type_name("N")
      ->group("Training");
  app.add_option(
         "--seed",
         options.seed,
         "Seed of the weights and of all chance" + always(options.seed))
      // More bits than these LibTorch's generator of a CPU does not look at.
      ->check(whole_number(0, std::numeric_limits<std::uint32_t>::max()))
      ->type_name("N")
      ->group("Training");
}

void add_machine_options(CLI::App& app, TrainOptions& options) {
  constexpr std::uint64_t kMostThreads = 4096;
  app.add_option(
         "--threads",
         options.threads,
         "Threads of the CPU [LibTorch's choice; one a core where\n"
         "that is 1 and OMP_NUM_THREADS is not set]")
      ->check(whole_number(1, kMostThreads))
      ->type_name("N")
      ->group("Machine");
  app.add_option(
         "--device",
         options.device,
         "cpu, cuda, cuda:1, ..." + always(options.device))
      ->type_name("NAME")
      ->group("Machine");
  app.add_option(
         "--out",
         options.out,
         "Folder for the log and the plots [" + options.out.string() + "]")
      ->check(not_empty())
      ->type_name("DIR")
      ->group("Machine");
  app.add_flag(
         "--profile",
         options.profile,
         "Say at the end which share of the time went where")
      ->group("Machine");
}

void fill_defaults(TrainOptions& options, const Open& open) {
  const auto& data = dataset_defaults().at(options.dataset);
  const auto& optimizer = optimizer_defaults().at(options.optimizer);
  if (!open.data_dir && *data.data_dir == '\0') {
    throw CLI::ValidationError(
        "--data-dir",
        "must be given for " + options.dataset +
            ": the folder with its binary files");
  }
  options.data_dir = open.data_dir.value_or(data.data_dir);
  options.augment = open.augment.value_or(data.augment);
  options.epochs = open.epochs.value_or(data.epochs);
  options.lr = open.lr.value_or(optimizer.lr);
  options.momentum = open.momentum.value_or(optimizer.momentum);
  options.weight_decay = open.weight_decay.value_or(optimizer.weight_decay);
}

}  // namespace

CommandLine parse_command_line(int argc, const char* const* argv) {
  CLI::App app(kDescription, "stepsize-train");
  app.footer(kFooter);
  // Leaves 56 columns of 80 for the descriptions.
  constexpr std::size_t kOptionColumns = 24;
  app.get_formatter()->column_width(kOptionColumns);
  app.failure_message([](const CLI::App* self, const CLI::Error& error) {
    return self->get_name() + ": " + error.what() +
           "\nRun with --help for more information.\n";
  });
  // The last of several counts, so that a script's options can be overridden.
  app.option_defaults()->take_last();
  CommandLine result;
  Open open;
  add_data_options(app, result.options, open);
  add_training_options(app, result.options, open);
  add_machine_options(app, result.options);
  try {
    app.parse(argc, argv);
    fill_defaults(result.options, open);
  } catch (const CLI::ParseError& error) {
    const int status = app.exit(error, std::cout, std::cerr);
    result.exit_status = status == 0 ? 0 : kBadCommandLine;
  }
  return result;
}

}  // namespace stepsize::trainer
