#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace stepsize::trainer {

/// What the text of an option must be. Each says "must be RULE, got TEXT".

/// A finite number.
CLI::Validator number(
    const std::string& rule, const std::function<bool(double)>& holds);

/// The same, or a word in its place.
CLI::Validator number_or(
    const std::string& word,
    const std::string& rule,
    const std::function<bool(double)>& holds);

CLI::Validator whole_number(std::uint64_t smallest, std::uint64_t largest);

CLI::Validator not_empty();

CLI::Validator one_of(const std::vector<std::string>& names);

}  // namespace stepsize::trainer
