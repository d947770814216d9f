#include "examples/trainer/cli/option_values.h"

#include <stepsize/report/csv_cell.h>

#include <cstdint>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "examples/trainer/cli/text.h"
#include "examples/trainer/loop/optimizer_table.h"

namespace stepsize::trainer {
namespace {

bool mean_the_same(const std::string& a, const std::string& b) {
  // A double has fewer digits than a seed may have.
  const auto whole = number_in<std::uint64_t>(a);
  const auto other_whole = number_in<std::uint64_t>(b);
  if (whole && other_whole) {
    return whole == other_whole;
  }
  const auto number = number_in<double>(a);
  return a == b || (number && number == number_in<double>(b));
}

}  // namespace

OptionValues option_values(const TrainOptions& options) {
  OptionValues values;
  // Numbers in as many digits as read back as the same number.
  const auto put = [&](const char* flag, const auto& value) {
    values[flag] = CsvCell(value).text();
  };
  const auto put_text = [&](const char* flag, const std::string& text) {
    values[flag] = text;
  };
  const auto put_positive = [&](const char* flag, std::int64_t value) {
    if (value > 0) {
      put(flag, value);
    }
  };
  const auto put_present = [&](const char* flag, const auto& value) {
    if (value) {
      put(flag, *value);
    }
  };
  put_text("--dataset", options.dataset);
  put_text("--data-dir", options.data_dir.string());
  put_text("--augment", options.augment);
  put_positive("--limit-train", options.limit_train);
  put_text("--model", options.model);
  put_text("--optimizer", options.optimizer);
  if (options.search > 0) {
    put("--search", options.search);
  } else if (options.lr_auto) {
    put_text("--lr", "auto");
  } else {
    put("--lr", options.lr);
  }
  if (optimizer_row(options.optimizer).momentum) {
    put("--momentum", options.momentum);
  }
  put("--weight-decay", options.weight_decay);
  put_present("--max-norm", options.max_norm);
  put_present("--safety", options.safety);
  put_present("--rho", options.rho);
  if (options.policy) {
    put_text("--policy", *options.policy);
  }
  if (options.state_type != "float32") {
    put_text("--state-type", options.state_type);
  }
  put_text("--schedule", options.schedule);
  put("--epochs", options.epochs);
  put("--batch-size", options.batch_size);
  put("--accumulate", options.accumulate);
  put_positive("--base-batch-size", options.base_batch_size);
  put_positive("--batch-schedule", options.batch_schedule);
  if (options.base_batch_size > 0 || options.batch_schedule > 0) {
    put_text("--lr-scaling", options.lr_scaling);
  }
  put_positive("--early-stop", options.early_stop);
  put_positive("--ensemble", options.ensemble);
  put("--seed", options.seed);
  put_positive("--threads", options.threads);
  put_text("--device", options.device);
  if (options.amp != "off") {
    put_text("--amp", options.amp);
  }
  if (options.world_size > 1) {
    put("--world-size", options.world_size);
  }
  if (!options.monitor.empty()) {
    put_text("--monitor", options.monitor);
    put("--monitor-every", options.monitor_every);
    if (options.monitor_budget > 0) {
      put("--monitor-budget", options.monitor_budget);
    }
  }
  put_present("--checkpoint-every", options.checkpoint_every);
  return values;
}

TrainOptions options_from(const OptionValues& values) {
  std::vector<std::string> arguments{"stepsize-train"};
  for (const auto& [flag, value] : values) {
    arguments.push_back(flag + "=" + value);
  }
  std::vector<const char*> pointers;
  for (const auto& argument : arguments) {
    pointers.push_back(argument.c_str());
  }
  const auto command = parse_command_line(
      static_cast<int>(pointers.size()), pointers.data(), Launchers::kIgnored);
  if (command.exit_status) {
    throw std::runtime_error(
        "the options in the checkpoint cannot be used, as said above");
  }
  return command.options;
}

OptionValues resumed_options(
    const OptionValues& had,
    const OptionValues& given,
    const std::filesystem::path& folder) {
  static const std::set<std::string> may_change{
      "--checkpoint-every", "--data-dir", "--device", "--epochs", "--threads"};
  // These are of one program run only.
  static const std::set<std::string> apart{
      "--evaluate",
      "--export",
      "--master",
      "--no-lr-check",
      "--out",
      "--overwrite",
      "--profile",
      "--rank",
      "--resume",
      "--tensorboard",
      "--timeout"};
  // What a run has that does not say.
  static const OptionValues left_out{{"--amp", "off"}, {"--world-size", "1"}};
  OptionValues values = had;
  for (const auto& [flag, value] : given) {
    const auto before = had.find(flag);
    const auto usual = left_out.find(flag);
    if (apart.count(flag) > 0 ||
        (before == had.end() && usual != left_out.end() &&
         usual->second == value)) {
      continue;
    }
    if (may_change.count(flag) > 0) {
      values[flag] = value;
    } else if (before == had.end()) {
      throw std::invalid_argument(
          flag + " " + value + ": the run in " + folder.string() + " has no " +
          flag + "; leave it out to go on");
    } else if (!mean_the_same(value, before->second)) {
      throw std::invalid_argument(
          flag + " " + value + ": the run in " + folder.string() + " has " +
          flag + " " + before->second + "; leave it out to go on");
    }
  }
  return values;
}

}  // namespace stepsize::trainer
