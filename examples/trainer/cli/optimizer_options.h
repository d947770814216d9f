#pragma once

#include <CLI/CLI.hpp>

#include <optional>
#include <string>
#include <vector>

#include "examples/trainer/cli/options.h"

namespace stepsize::trainer {

/// All that --optimizer takes, and all that --policy does.
std::vector<std::string> optimizer_names();
const std::vector<std::string>& policy_names();

/// The options of an optimizer that may be left open on the command line.
struct OpenOptimizerOptions {
  /// A number or "auto".
  std::optional<std::string> lr;
  std::optional<double> momentum;
  std::optional<double> weight_decay;
  std::optional<double> max_norm;
  std::optional<double> safety;
  std::optional<double> rho;
  std::optional<std::string> policy;
  std::string state_type = "float32";
  std::optional<std::string> schedule;
};

void add_optimizer_options(
    CLI::App& app, TrainOptions& options, OpenOptimizerOptions& open);

/// Fills in what was left open. Throws CLI::ValidationError for an option that
/// the optimizer does not have.
void fill_optimizer_defaults(
    TrainOptions& options, const OpenOptimizerOptions& open);

/// For the help: the schedules of those optimizers that have another one than
/// is usual, and a line for each optimizer.
std::string schedule_defaults(const std::string& usual);
std::string optimizer_table();

}  // namespace stepsize::trainer
