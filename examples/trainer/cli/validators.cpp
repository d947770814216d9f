#include "examples/trainer/cli/validators.h"

#include <cmath>

#include "examples/trainer/cli/text.h"

namespace stepsize::trainer {
namespace {

// What is wrong with a number; empty: nothing.
std::string fault(
    const std::string& text,
    const std::string& rule,
    const std::function<bool(double)>& holds) {
  double value = 0;
  if (!CLI::detail::lexical_cast(text, value) || !std::isfinite(value) ||
      !holds(value)) {
    return "must be a number " + rule + ", got " + text;
  }
  return {};
}

}  // namespace

CLI::Validator number(
    const std::string& rule, const std::function<bool(double)>& holds) {
  return CLI::Validator(
      [rule, holds](const std::string& text) {
        return fault(text, rule, holds);
      },
      "");
}

CLI::Validator number_or(
    const std::string& word,
    const std::string& rule,
    const std::function<bool(double)>& holds) {
  return CLI::Validator(
      [word, rule, holds](const std::string& text) {
        return text == word ? std::string()
                            : fault(text, rule + " or " + word, holds);
      },
      "");
}

CLI::Validator whole_number(std::uint64_t smallest, std::uint64_t largest) {
  return CLI::Validator(
      [smallest, largest](const std::string& text) -> std::string {
        const auto value = number_in<std::uint64_t>(text);
        // CLI11 takes what starts with a zero for octal.
        const bool octal = text.size() > 1 && text.front() == '0';
        if (!value || octal || *value < smallest || *value > largest) {
          return "must be a whole number in " + std::to_string(smallest) +
                 " .. " + std::to_string(largest) +
                 (octal ? ", without a leading zero" : "") + ", got " + text;
        }
        return {};
      },
      "");
}

CLI::Validator not_empty() {
  return CLI::Validator(
      [](const std::string& text) -> std::string {
        return text.empty() ? "must not be empty" : "";
      },
      "");
}

CLI::Validator one_of(const std::vector<std::string>& names) {
  std::string listed;
  for (const auto& name : names) {
    listed += (listed.empty() ? "" : ", ") + name;
  }
  return CLI::Validator(
      [names, listed](const std::string& text) -> std::string {
        for (const auto& name : names) {
          if (text == name) {
            return {};
          }
        }
        return "must be one of " + listed + ", got " + text;
      },
      "");
}

}  // namespace stepsize::trainer
