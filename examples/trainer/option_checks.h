#pragma once

#include <CLI/CLI.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace stepsize::trainer {

/// A finite number of which `holds` is true; `rule` says so ("> 0").
CLI::Validator number(
    const std::string& rule, const std::function<bool(double)>& holds);

/// The same, or this word.
CLI::Validator number_or(
    const std::string& word,
    const std::string& rule,
    const std::function<bool(double)>& holds);

/// A whole number in smallest .. largest.
CLI::Validator whole_number(std::uint64_t smallest, std::uint64_t largest);

/// A text that is not empty.
CLI::Validator not_empty();

/// One of these names. The help does not list them by itself: they stand in
/// the option's description, where each can be explained.
CLI::Validator one_of(const std::vector<std::string>& names);

}  // namespace stepsize::trainer
