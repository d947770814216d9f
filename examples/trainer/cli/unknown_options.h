#pragma once

#include <CLI/CLI.hpp>

#include <string>
#include <vector>

namespace stepsize::trainer {

/// Those of `names` that someone who wrote `name` may have meant: the ones that
/// begin with it, or else the nearest ones, of which at most a letter in three
/// is another, missing or too many.
std::vector<std::string> similar_names(
    const std::string& name, const std::vector<std::string>& names);

/// Throws CLI::ParseError where the command line that was parsed has options
/// that the program does not know, or words that belong to none: all of them,
/// in their order, each option with its value and those that may be meant.
void check_known(const CLI::App& app);

}  // namespace stepsize::trainer
