#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <optional>
#include <string>

#include "options.h"

namespace stepsize::trainer {

/// What was left open on the command line; the rest goes to TrainOptions.
struct OpenOptions {
  std::optional<std::string> data_dir;
  std::optional<std::string> augment;
  /// A number or kAuto.
  std::optional<std::string> lr;
  std::optional<std::string> lr_scaling;
  bool no_lr_check = false;
  std::optional<double> momentum;
  std::optional<double> weight_decay;
  std::optional<double> max_norm;
  std::optional<double> safety;
  std::optional<std::int64_t> epochs;
};

/// In the place of a rate.
inline constexpr const char* kAuto = "auto";

/// Gives the command line its options, which write where they belong.
void add_options(CLI::App& app, CommandLine& command, OpenOptions& open);

}  // namespace stepsize::trainer
