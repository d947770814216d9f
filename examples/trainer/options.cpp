#include "options.h"

#include <torch/version.h>
#include <CLI/CLI.hpp>

#include <cstdint>
#include <iostream>
#include <optional>
#include <set>
#include <string>

#include "help_text.h"
#include "option_defaults.h"
#include "option_flags.h"
#include "unknown_options.h"

namespace stepsize::trainer {
namespace {

std::optional<double> given_or_default(
    const char* flag,
    std::optional<double> given,
    std::optional<double> OptimizerDefaults::*option,
    const std::string& optimizer) {
  const auto preset = optimizer_defaults().at(optimizer).*option;
  if (given && !preset) {
    throw CLI::ValidationError(
        flag,
        "is an option of " + owners_of(option) + ", and --optimizer is " +
            optimizer);
  }
  return given ? given : preset;
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
  const bool measures = options.optimizer == "power-sgd";
  const std::string why = "--optimizer power-sgd measures its rate";
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

void fill_defaults(TrainOptions& options, const OpenOptions& open) {
  const auto& data = dataset_defaults().at(options.dataset);
  const auto& optimizer = optimizer_defaults().at(options.optimizer);
  if (!open.data_dir && data.data_dir.empty()) {
    throw CLI::ValidationError(
        "--data-dir",
        "must be given for " + options.dataset + ": the folder with its files");
  }
  options.data_dir = open.data_dir.value_or(data.data_dir);
  options.augment = open.augment.value_or(data.augment);
  options.epochs = open.epochs.value_or(data.epochs);
  options.lr_check = !open.no_lr_check;
  options.lr_auto = open.lr == kAuto;
  options.lr_given = open.lr && !options.lr_auto;
  options.lr = options.lr_auto ? 0 : optimizer.lr;
  if (options.lr_given) {
    // It has been checked.
    CLI::detail::lexical_cast(*open.lr, options.lr);
  }
  options.momentum = open.momentum.value_or(optimizer.momentum);
  options.weight_decay = open.weight_decay.value_or(optimizer.weight_decay);
  options.max_norm = given_or_default(
      "--max-norm",
      open.max_norm,
      &OptimizerDefaults::max_norm,
      options.optimizer);
  options.safety = given_or_default(
      "--safety", open.safety, &OptimizerDefaults::safety, options.optimizer);
  options.lr_scaling = open.lr_scaling.value_or(optimizer.lr_scaling);
  check_rate_and_batch(options, open);
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

constexpr const char* kVersion =
    "stepsize-train " STEPSIZE_VERSION " (LibTorch " TORCH_VERSION ")";

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
    check_alone(result.given);
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
