#pragma once

#include <filesystem>

#include "examples/trainer/cli/options.h"

namespace stepsize::trainer {

/// All options that make a run what it is, defaults filled in: what to give
/// for the same run again.
OptionValues option_values(const TrainOptions& options);

/// The options that are written so. Throws std::runtime_error where a command
/// line could not have them.
TrainOptions options_from(const OptionValues& values);

/// The options of a run in `folder` that goes on: those it had, with the ones
/// given that a run may change. Throws std::invalid_argument, naming both
/// values, where another one is given with another value.
OptionValues resumed_options(
    const OptionValues& had,
    const OptionValues& given,
    const std::filesystem::path& folder);

}  // namespace stepsize::trainer
