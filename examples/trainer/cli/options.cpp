#include "examples/trainer/cli/options.h"

#include <c10/util/Exception.h>
#include <stepsize/distributed/connect.h>
#include <torch/version.h>
#include <CLI/CLI.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <iostream>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "examples/trainer/cli/help_defaults.h"
#include "examples/trainer/cli/help_text.h"
#include "examples/trainer/cli/optimizer_options.h"
#include "examples/trainer/cli/unknown_options.h"
#include "examples/trainer/cli/validators.h"
#include "examples/trainer/data/image_set.h"
#include "examples/trainer/loop/optimizer_table.h"

namespace stepsize::trainer {
namespace {

// What options are with a dataset where they are left out.
struct DatasetDefaults {
  std::string data_dir;  //< empty: there is none
  std::string augment;
  std::int64_t epochs;
};

const std::map<std::string, DatasetDefaults>& dataset_defaults() {
  static const auto defaults = [] {
    std::map<std::string, DatasetDefaults> all;
    for (const auto& name : image_set_names()) {
      all[name] = {"", "none", 2};
    }
    all.at("fashion-mnist").data_dir = "/usr/share/datasets/fashion-mnist";
    for (const auto* cifar : {"cifar10", "cifar100"}) {
      all.at(cifar) = {"", "flip", 10};
    }
    return all;
  }();
  return defaults;
}

// What was left open on the command line; the rest goes to TrainOptions.
struct OpenOptions {
  OpenOptimizerOptions optimizer;
  std::optional<std::string> data_dir;
  std::optional<std::string> augment;
  std::optional<std::string> lr_scaling;
  bool no_lr_check = false;
  std::optional<std::int64_t> epochs;
  std::optional<std::int64_t> monitor_every;
  std::optional<double> monitor_budget;
};

// No run is longer, and products of two such numbers can be counted.
constexpr std::uint64_t kMost = 1000000000;
constexpr std::uint64_t kMostSnapshots = 1000;

void add_data_options(CLI::App& app, TrainOptions& options, OpenOptions& open) {
  const auto& defaults = dataset_defaults();
  app.add_option(
         "--dataset",
         options.dataset,
         "fashion-mnist, mnist, kmnist, qmnist, cifar10,\n"
         "cifar100, emnist-balanced, -byclass, -bymerge, -digits,\n"
         "-letters or -mnist" +
             fixed_default(options.dataset))
      ->check(one_of(keys_of(defaults)))
      ->type_name("NAME")
      ->group("Data");
  app.add_option(
         "--data-dir",
         open.data_dir,
         "Folder with its files, or CIFAR's .tar.gz\n[fashion-mnist: " +
             defaults.at("fashion-mnist").data_dir +
             ",\nof Debian's package dataset-fashion-mnist]")
      ->check(not_empty())
      ->type_name("DIR")
      ->group("Data");
  app.add_option(
         "--augment",
         open.augment,
         "Change training images at random: none, flip (mirror\n"
         "half of them), or crop-flip (also move them by up to 4\n"
         "pixels)\n" +
             by_name(defaults, &DatasetDefaults::augment, "none"))
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

void add_rate_options(CLI::App& app, TrainOptions& options, OpenOptions& open) {
  app.add_flag(
         "--lr-find",
         options.lr_find,
         "Do the range test only: draw it, say which rates it\n"
         "suggests, and write lr_range.csv and lr_range.svg")
      ->group("Rate and batch");
  app.add_option(
         "--search",
         options.search,
         "Find the rate by N short trials, of which a Gaussian\n"
         "process says where; 15 are enough. Goes on from\n"
         "lr_search.jsonl in --out")
      ->check(whole_number(1, kMost))
      ->type_name("N")
      ->group("Rate and batch");
  app.add_flag(
         "--no-lr-check",
         open.no_lr_check,
         "Do not try, in 30 updates that are undone, whether the\n"
         "loss bears a rate that --lr names")
      ->group("Rate and batch");
  app.add_option(
         "--base-batch-size",
         options.base_batch_size,
         "The batch that --lr is meant for: it is scaled to that\n"
         "of the run")
      ->check(whole_number(1, kMost))
      ->type_name("N")
      ->group("Rate and batch");
  app.add_option(
         "--lr-scaling", open.lr_scaling, "How: linear or sqrt [by optimizer]")
      ->check(one_of({"linear", "sqrt"}))
      ->type_name("NAME")
      ->group("Rate and batch");
  app.add_option(
         "--accumulate",
         options.accumulate,
         "Micro-batches of --batch-size images in an update; the\n"
         "gradient noise scale is measured from 2 on" +
             fixed_default(options.accumulate))
      ->check(whole_number(1, kMost))
      ->type_name("N")
      ->group("Rate and batch");
  app.add_option(
         "--batch-schedule",
         options.batch_schedule,
         "Let the batch grow to up to N images, in micro-batches,\n"
         "where the schedule would lower the rate")
      ->check(whole_number(1, kMost))
      ->type_name("N")
      ->group("Rate and batch");
}

void add_training_options(
    CLI::App& app, TrainOptions& options, OpenOptions& open) {
  app.add_option(
         "--model",
         options.model,
         "cnn: three convolutions with BatchNorm; resnet20: the\n"
         "CIFAR form of He et al. 2016; resnet18: ResNet-18 with\n"
         "a 3x3 stem" +
             fixed_default(options.model))
      ->check(one_of({"cnn", "resnet20", "resnet18"}))
      ->type_name("NAME")
      ->group("Training");
  add_optimizer_options(app, options, open.optimizer);
  app.add_option(
         "--schedule",
         open.optimizer.schedule,
         "What multiplies the rate over the run, see below\n" +
             schedule_defaults(options.schedule))
      ->type_name("TEXT")
      ->group("Training");
  app.add_option(
         "--epochs",
         open.epochs,
         "Passes over the training images\n" +
             by_name(dataset_defaults(), &DatasetDefaults::epochs, 2))
      ->check(whole_number(1, kMost))
      ->type_name("N")
      ->group("Training");
  app.add_option(
         "--batch-size",
         options.batch_size,
         "Images in an update, or in a micro-batch of it" +
             fixed_default(options.batch_size))
      ->check(whole_number(1, kMost))
      ->type_name("N")
      ->group("Training");
  app.add_option(
         "--early-stop",
         options.early_stop,
         "End after N epochs without a lower test loss; the\n"
         "result is then that of the best epoch")
      ->check(whole_number(1, kMost))
      ->type_name("N")
      ->group("Training");
  app.add_option(
         "--ensemble",
         options.ensemble,
         "Keep the weights at the ends of N cycles of the rate,\n"
         "and test their mean prediction; the schedule is then\n"
         "N cosines, with a warm-up in the first")
      ->check(whole_number(2, kMostSnapshots))
      ->type_name("N")
      ->group("Training");
  app.add_option(
         "--seed",
         options.seed,
         "Seed of the weights and of all chance" + fixed_default(options.seed))
      // More bits than these LibTorch's generator of a CPU does not look at.
      ->check(whole_number(0, std::numeric_limits<std::uint32_t>::max()))
      ->type_name("N")
      ->group("Training");
}

void add_monitor_options(
    CLI::App& app, TrainOptions& options, OpenOptions& open) {
  app.add_option(
         "--monitor",
         options.monitor,
         "curvature: measure the sharpness now and then, with any\n"
         "optimizer, which does not notice; writes curvature.csv\n"
         "and sharpness.svg [nothing]")
      ->check(one_of({"curvature"}))
      ->type_name("NAME")
      ->group("Training");
  app.add_option(
         "--monitor-every",
         open.monitor_every,
         "Updates from one measurement to the next" +
             fixed_default(options.monitor_every))
      ->check(whole_number(1, kMost))
      ->type_name("N")
      ->group("Training");
  app.add_option(
         "--monitor-budget",
         open.monitor_budget,
         "Percent of the time of training that it may take, as\n"
         "measured as it runs: what is too much waits; 0: no\n"
         "bound" +
             fixed_default(options.monitor_budget))
      ->check(number(">= 0", [](double value) { return value >= 0; }))
      ->type_name("P")
      ->group("Training");
}

void add_machine_options(CLI::App& app, TrainOptions& options) {
  constexpr std::uint64_t kMostThreads = 4096;
  app.add_option(
         "--threads",
         options.threads,
         "Threads of the CPU [LibTorch's choice; one a core if\n"
         "that is 1 and OMP_NUM_THREADS is not set]")
      ->check(whole_number(1, kMostThreads))
      ->type_name("N")
      ->group("Machine");
  app.add_option(
         "--device",
         options.device,
         "cpu, cuda, cuda:1, ..." + fixed_default(options.device))
      ->type_name("NAME")
      ->group("Machine");
  app.add_option(
         "--amp",
         options.amp,
         "bf16: products and convolutions in bfloat16, in\n"
         "training and in tests; weights stay float32" +
             fixed_default(options.amp))
      ->check(one_of({"off", "bf16"}))
      ->type_name("NAME")
      ->group("Machine");
  app.add_option(
         "--out",
         options.out,
         "Folder for log, plots and checkpoints [runs/NAME-N, a\n"
         "new one for each run]")
      ->check(not_empty())
      ->type_name("DIR")
      ->group("Machine");
  app.add_flag(
         "--profile",
         options.profile,
         "Say at the end which share of the time went where")
      ->group("Machine");
}

void add_process_options(CLI::App& app, TrainOptions& options) {
  constexpr std::uint64_t kMostProcesses = 4096;
  app.add_option(
         "--world-size",
         options.world_size,
         "Processes that train one model, each on its share of\n"
         "every batch; --batch-size is that of each. All are\n"
         "started with the same options; torchrun, mpirun, srun\n"
         "and scripts/launch.sh tell each its place" +
             fixed_default(options.world_size))
      ->check(whole_number(1, kMostProcesses))
      ->type_name("N")
      ->group("Processes (see scripts/launch.sh)");
  app.add_option(
         "--rank",
         options.rank,
         "Which of them this is, from 0. Process 0 writes files\n"
         "and terminal" +
             fixed_default(options.rank))
      ->check(whole_number(0, kMostProcesses - 1))
      ->type_name("N")
      ->group("Processes (see scripts/launch.sh)");
  app.add_option(
         "--master",
         options.master,
         "HOST:PORT at which process 0 can be reached")
      ->check(not_empty())
      ->type_name("TEXT")
      ->group("Processes (see scripts/launch.sh)");
  app.add_option(
         "--timeout",
         options.timeout,
         "Seconds to wait for another process before it counts\n"
         "as lost" +
             fixed_default(options.timeout))
      ->check(
          number("> 0 and <= 1e9", [](double x) { return x > 0 && x <= 1e9; }))
      ->type_name("X")
      ->group("Processes (see scripts/launch.sh)");
}

void add_checkpoint_options(CLI::App& app, CommandLine& command) {
  app.add_option(
         "--checkpoint-every",
         command.options.checkpoint_every,
         "Save the run every N updates too; 0: never [after every\n"
         "epoch]")
      ->check(whole_number(0, kMost))
      ->type_name("N")
      ->group("Checkpoints");
  app.add_flag(
         "--resume",
         command.resume,
         "Go on with the run in --out [the last one in runs/].\n"
         "Its options need not be given again; a larger --epochs\n"
         "makes it longer, if its rate is not 0 by then")
      ->group("Checkpoints");
  app.add_flag(
         "--overwrite",
         command.overwrite,
         "Replace the run in --out, its checkpoints too; without\n"
         "this a new run does not begin where there are any")
      ->group("Checkpoints");
}

void add_result_options(CLI::App& app, CommandLine& command) {
  app.add_option(
         "--compare",
         command.compare,
         "Do not train: draw these runs in one picture,\n"
         "compare.svg in --out or here, and show a table")
      ->check(not_empty())
      ->type_name("DIR")
      ->expected(1, CLI::detail::expected_max_vector_size)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->group("Results");
  app.add_option(
         "--evaluate",
         command.evaluate,
         "Do not train: test the model of a checkpoint, such as\n"
         "runs/NAME-N/checkpoints/best.ckpt")
      ->check(not_empty())
      ->type_name("CHECKPOINT")
      ->group("Results");
  app.add_option(
         "--export",
         command.options.export_file,
         "Write the trained weights, or with --evaluate those of\n"
         "the checkpoint, for torch::load()")
      ->check(not_empty())
      ->type_name("FILE")
      ->group("Results");
  app.add_option(
         "--tensorboard",
         command.options.tensorboard,
         "Write the run's curves for tensorboard --logdir DIR too")
      ->check(not_empty())
      ->type_name("DIR")
      ->group("Results");
}

void add_options(CLI::App& app, CommandLine& command, OpenOptions& open) {
  TrainOptions& options = command.options;
  add_data_options(app, options, open);
  add_training_options(app, options, open);
  add_monitor_options(app, options, open);
  add_rate_options(app, options, open);
  add_machine_options(app, options);
  add_process_options(app, options);
  add_checkpoint_options(app, command);
  add_result_options(app, command);
}

// Options that say nothing together are a mistake.
void check_rate_and_batch(
    const TrainOptions& options, const OpenOptions& open) {
  const auto refuse_if =
      [](bool mistaken, const char* flag, const std::string& message) {
        if (mistaken) {
          throw CLI::ValidationError(flag, message);
        }
      };
  const auto& row = optimizer_row(options.optimizer);
  const bool measures = !row.finds_rate.empty();
  const std::string why =
      "--optimizer " + options.optimizer + " " + row.finds_rate;
  refuse_if(
      measures && options.lr_auto,
      "--lr",
      "cannot be auto: " + why + ", and --lr is a factor of that");
  refuse_if(measures && options.lr_find, "--lr-find", "is of no use: " + why);
  const bool scales = options.base_batch_size > 0;
  refuse_if(measures && scales, "--base-batch-size", "is of no use: " + why);
  refuse_if(
      scales && (options.lr_auto || options.lr_find),
      "--base-batch-size",
      "is of no use: the range test is made with the batch of the run");
  if (options.search > 0) {
    refuse_if(measures, "--search", "is of no use: " + why);
    refuse_if(
        options.lr_given, "--search", "looks for the rate, and --lr names one");
    refuse_if(
        options.lr_find,
        "--search",
        "is of no use with --lr-find, which does the range test and no more");
    refuse_if(
        scales,
        "--base-batch-size",
        "is of no use: the search is made with the batch of the run");
    refuse_if(
        options.batch_schedule > 0,
        "--search",
        "is for a batch that does not grow, and --batch-schedule is given");
    refuse_if(
        options.world_size > 1,
        "--search",
        "is for one process, and --world-size is " +
            std::to_string(options.world_size));
  }
  const std::int64_t batch = options.whole_batch() * options.accumulate;
  refuse_if(
      options.batch_schedule > 0 && options.batch_schedule < batch,
      "--batch-schedule",
      "must be at least the batch at the start, " + std::to_string(batch) +
          ", got " + std::to_string(options.batch_schedule));
  refuse_if(
      open.lr_scaling && !scales && options.batch_schedule == 0,
      "--lr-scaling",
      "says how --base-batch-size or --batch-schedule change the rate, and "
      "neither is given");
}

void check_monitor(const TrainOptions& options, const OpenOptions& open) {
  if (options.monitor.empty()) {
    if (open.monitor_every) {
      throw CLI::ValidationError(
          "--monitor-every",
          "says how often --monitor measures, and that is not given");
    }
    if (open.monitor_budget) {
      throw CLI::ValidationError(
          "--monitor-budget",
          "says what --monitor may take, and that is not given");
    }
    return;
  }
  if (options.lr_find) {
    throw CLI::ValidationError(
        "--monitor", "is of no use with --lr-find, which trains nothing");
  }
  if (options.world_size > 1) {
    throw CLI::ValidationError(
        "--monitor",
        "is for one process, and --world-size is " +
            std::to_string(options.world_size));
  }
}

// Snapshots are taken where the rate is lowest, and put together what a run
// ships.
void check_ensemble(const TrainOptions& options) {
  if (options.ensemble == 0) {
    return;
  }
  const auto refuse = [](const std::string& why) {
    throw CLI::ValidationError("--ensemble", why);
  };
  const auto& row = optimizer_row(options.optimizer);
  if (!row.finds_rate.empty() || row.learns_rate || row.averages) {
    refuse(
        "wants an optimizer whose rate follows the schedule, got --optimizer " +
        options.optimizer);
  }
  if (options.early_stop > 0) {
    refuse("wants the whole run, and --early-stop may end it");
  }
  if (options.batch_schedule > 0) {
    refuse("wants a rate that falls, and --batch-schedule has the batch grow");
  }
  if (options.lr_find) {
    refuse("is of no use with --lr-find, which trains nothing");
  }
  if (options.ensemble > options.epochs) {
    refuse(
        "wants an epoch a cycle at least, and --epochs is " +
        std::to_string(options.epochs));
  }
}

void check_amp(const TrainOptions& options) {
  const bool by_hessian = optimizer_row(options.optimizer).wants_graph ||
                          options.policy == "sharpness";
  if (options.amp != "off" && by_hessian) {
    throw CLI::ValidationError(
        "--amp",
        "must be off with --optimizer " + options.optimizer +
            (options.policy ? " --policy " + *options.policy : "") +
            ", which takes second derivatives, got " + options.amp);
  }
}

void fill_defaults(TrainOptions& options, const OpenOptions& open) {
  const auto& data = dataset_defaults().at(options.dataset);
  if (!open.data_dir && data.data_dir.empty()) {
    throw CLI::ValidationError(
        "--data-dir",
        "must be given for " + options.dataset + ": the folder with its files");
  }
  options.data_dir = open.data_dir.value_or(data.data_dir);
  options.augment = open.augment.value_or(data.augment);
  options.epochs = open.epochs.value_or(data.epochs);
  options.lr_check = !open.no_lr_check;
  fill_optimizer_defaults(options, open.optimizer);
  options.lr_scaling =
      open.lr_scaling.value_or(optimizer_row(options.optimizer).lr_scaling);
  check_rate_and_batch(options, open);
  if (options.search > 0) {
    options.lr_auto = true;
    options.lr = 0;
  }
  options.monitor_every = open.monitor_every.value_or(options.monitor_every);
  options.monitor_budget = open.monitor_budget.value_or(options.monitor_budget);
  check_monitor(options, open);
  check_amp(options);
  check_ensemble(options);
}

// Where no option says which of several processes this is, its launcher may.
// Returns whether there is one.
bool take_launched(CommandLine& command, Launchers launchers) {
  if (launchers == Launchers::kIgnored) {
    return false;
  }
  for (const auto* flag : {"--world-size", "--rank", "--master"}) {
    if (command.given.count(flag) > 0) {
      return false;
    }
  }
  std::optional<ConnectOptions> launched;
  try {
    launched = ConnectOptions::from_environment();
  } catch (const c10::Error& error) {
    throw CLI::ValidationError(error.what_without_backtrace());
  }
  if (launched && launched->world_size() > 1) {
    if (!command.compare.empty() || !command.evaluate.empty()) {
      throw CLI::ValidationError(
          command.compare.empty() ? "--evaluate" : "--compare",
          "is for one process, and a launcher has started " +
              std::to_string(launched->world_size()));
    }
    command.options.world_size = launched->world_size();
    command.options.rank = launched->rank();
    command.options.local_rank = launched->local_rank();
    command.options.master = launched->master();
  }
  return launched.has_value();
}

// They would say nothing where a process does not know that it is one of
// several.
void check_alone(const OptionValues& given) {
  if (given.count("--world-size") > 0) {
    return;
  }
  for (const auto* flag : {"--rank", "--master", "--timeout"}) {
    if (given.count(flag) > 0) {
      throw CLI::ValidationError(
          flag,
          "wants --world-size, the number of processes; scripts/launch.sh "
          "gives it");
    }
  }
}

OptionValues given_options(const CLI::App& app) {
  OptionValues given;
  for (const auto* option : app.get_options()) {
    if (option->count() > 0) {
      given[option->get_name()] = option->results().back();
    }
  }
  return given;
}

// The first of the options given that is none of those; empty: there is none.
std::string other_than(
    const OptionValues& given, const std::set<std::string>& usable) {
  for (const auto& option : given) {
    if (usable.count(option.first) == 0) {
      return option.first;
    }
  }
  return {};
}

// Of what a command line asks for, some is instead of a run.
void check_together(const CommandLine& command) {
  const auto& given = command.given;
  const auto refuse = [](const std::string& flag, const std::string& why) {
    throw CLI::ValidationError(flag, why);
  };
  if (!command.compare.empty()) {
    const auto other = other_than(given, {"--compare", "--out"});
    if (!other.empty()) {
      refuse(other, "is of no use with --compare, which trains nothing");
    }
  }
  if (!command.evaluate.empty()) {
    const auto other = other_than(
        given,
        {"--evaluate", "--export", "--data-dir", "--device", "--threads"});
    if (!other.empty()) {
      refuse(
          other,
          "is of no use with --evaluate, which takes it from the checkpoint");
    }
  }
  if (command.resume && command.options.lr_find) {
    refuse("--resume", "is of no use with --lr-find, which trains nothing");
  }
  if (!command.options.export_file.empty() && command.options.lr_find) {
    refuse("--export", "is of no use with --lr-find, which trains nothing");
  }
  if (!command.options.tensorboard.empty() && command.options.lr_find) {
    refuse(
        "--tensorboard", "is of no use with --lr-find, which trains nothing");
  }
  if (command.resume && command.overwrite) {
    refuse("--overwrite", "would remove the run that --resume goes on with");
  }
  if (command.overwrite && given.count("--out") == 0) {
    refuse(
        "--overwrite",
        "wants --out, the folder of the run to replace; without that a run "
        "gets a new folder");
  }
}

bool is_run(const CommandLine& command) {
  return !command.resume && command.compare.empty() && command.evaluate.empty();
}

// Newer versions of CLI11 break lines anew, and a table with them; older ones
// have no such function.
template <typename Formatter>
auto keep_lines(Formatter& formatter, int /*preferred*/)
    -> decltype(formatter.enable_footer_formatting(false)) {
  formatter.enable_footer_formatting(false);
  formatter.enable_description_formatting(false);
}
template <typename Formatter>
void keep_lines(Formatter& /*formatter*/, long /*otherwise*/) {}

constexpr const char* kVersion =
    "stepsize-train " STEPSIZE_VERSION " (LibTorch " STEPSIZE_TORCH_RELEASE ")";

}  // namespace

CommandLine parse_command_line(
    int argc, const char* const* argv, Launchers launchers) {
  CLI::App app(kDescription, "stepsize-train");
  app.footer("\n" + optimizer_table() + kFooter);
  // Leaves 56 columns of 80 for the descriptions.
  constexpr std::size_t kOptionColumns = 24;
  app.get_formatter()->column_width(kOptionColumns);
  keep_lines(*app.get_formatter(), 0);
  app.failure_message([](const CLI::App* self, const CLI::Error& error) {
    return self->get_name() + ": " + error.what() +
           "\nRun with --help for more information.\n";
  });
  // The last of several counts, so that a script's options can be overridden.
  app.option_defaults()->take_last();
  app.set_help_flag("-h,--help", "The options that matter most");
  app.set_help_all_flag("--help-all", "All options, and more on them");
  app.set_version_flag("--version", kVersion, "Versions of this and LibTorch");
  // They are refused by check_known(), in their order and with what may be
  // meant.
  app.allow_extras();
  CommandLine result;
  OpenOptions open;
  add_options(app, result, open);
  try {
    app.parse(argc, argv);
    check_known(app);
    result.given = given_options(app);
    if (!take_launched(result, launchers)) {
      check_alone(result.given);
    }
    check_together(result);
    if (is_run(result)) {
      fill_defaults(result.options, open);
    }
  } catch (const CLI::CallForHelp&) {
    std::cout << kShortHelp;
    result.exit_status = 0;
  } catch (const CLI::CallForAllHelp&) {
    std::cout << app.help();
    result.exit_status = 0;
  } catch (const CLI::ParseError& error) {
    const int status = app.exit(error, std::cout, std::cerr);
    result.exit_status = status == 0 ? 0 : kBadCommandLine;
  }
  return result;
}

}  // namespace stepsize::trainer
