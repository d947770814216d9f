#include "csrc/schedule/call.h"

#include "csrc/schedule/check.h"
#include "csrc/text/number.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace stepsize::detail {

bool Call::has_flag(const std::string& flag) const {
  return std::any_of(flags.begin(), flags.end(), [&flag](const Token& token) {
    return token.text == flag;
  });
}

const Token* Call::find(const std::string& keyword) const {
  for (const auto& [word, number] : values) {
    if (word.text == keyword) {
      return &number;
    }
  }
  return nullptr;
}

void Call::fail(std::size_t column, const std::string& message) const {
  throw_parse_error(text_, column, message);
}

double Call::resolve_duration(const Token& token) const {
  switch (token.unit) {
    case Unit::kEpochs:
      if (!(context_.steps_per_epoch > 0)) {
        fail(
            token.column,
            "'" + token.text +
                "' needs the number of steps in an epoch, which is not known "
                "here; set steps_per_epoch in the ParseContext given to "
                "parse(), or write a number of steps");
      }
      return token.number * context_.steps_per_epoch;
    case Unit::kPercent:
      if (!(context_.run_length > 0)) {
        fail(
            token.column,
            "'" + token.text +
                "' needs the length of the run, which is not known here; set "
                "run_length in the ParseContext given to parse(), or write a "
                "number of steps");
      }
      // The product first: exact where the share is a whole number of steps.
      return token.number * context_.run_length / 100;
    case Unit::kNone:
      break;
  }
  return token.number;
}

double Call::resolve_number(const Token& token) const {
  if (token.unit == Unit::kEpochs) {
    fail(token.column, "expected a plain number or a percentage");
  }
  return token.unit == Unit::kPercent ? token.number / 100 : token.number;
}

double Call::duration(std::size_t i, const char* what) const {
  if (i >= numbers.size()) {
    fail(
        column() + name_.text.size(),
        "expected the " + std::string(what) + " of " + name_.text +
            " in steps, epochs (2ep) or percent of the run (5%)");
  }
  return resolve_duration(numbers[i]);
}

double Call::duration_or_rest(std::size_t i) const {
  if (i < numbers.size()) {
    return resolve_duration(numbers[i]);
  }
  if (!(context_.run_length > 0)) {
    fail(
        column() + name_.text.size(),
        "expected the length of " + name_.text +
            ", or run_length in the ParseContext given to parse(): it takes "
            "what is left of the run");
  }
  if (std::isnan(elapsed_)) {
    fail(
        column() + name_.text.size(),
        "expected the length of " + name_.text +
            ": what is left of the run is not known after a plateau that a "
            "metric may end");
  }
  const double rest = context_.run_length - elapsed_;
  if (!(rest > 0)) {
    fail(
        column(),
        "nothing is left of the run for " + name_.text + ": it has " +
            number_text(context_.run_length) + " steps, and " +
            number_text(elapsed_) +
            " are taken before; expected shorter curves before it, or its "
            "length");
  }
  return rest;
}

double Call::number(std::size_t i, const char* what) const {
  if (i >= numbers.size()) {
    fail(
        column() + name_.text.size(),
        "expected the " + std::string(what) + " of " + name_.text);
  }
  return resolve_number(numbers[i]);
}

double Call::value_or(const std::string& keyword, double standard) const {
  const Token* token = find(keyword);
  return token == nullptr ? standard : resolve_number(*token);
}

double Call::value(const std::string& keyword) const {
  const Token* token = find(keyword);
  if (token == nullptr) {
    fail(column(), "expected '" + keyword + "' and a number for this curve");
  }
  return resolve_number(*token);
}

double Call::duration_value_or(
    const std::string& keyword, double standard) const {
  const Token* token = find(keyword);
  return token == nullptr ? standard : resolve_duration(*token);
}

LevelDecay Call::level_decay() const {
  const Token* above = find("above");
  if (above != nullptr && find("to") != nullptr) {
    fail(
        above->column,
        "expected 'to' or 'above' and not both: 'decay D to M' lets the peaks "
        "decay, 'decay D above M' the height above M");
  }
  const bool has_level = above != nullptr || find("to") != nullptr;
  return {
      value_or("decay", 1),
      value_or(above != nullptr ? "above" : "to", 0),
      above != nullptr,
      has_level && find("decay") == nullptr};
}

int64_t Call::count_or_forever(const std::string& keyword) const {
  const Token* token = find(keyword);
  if (token == nullptr) {
    return Schedule::kForever;
  }
  // Not by way of a double where it has more digits than that holds.
  auto count = number_in<int64_t>(token->text);
  if (!count) {
    const double number = token->number;
    const bool whole = token->unit == Unit::kNone &&
                       number == std::floor(number) &&
                       std::abs(number) <= 0x1p53;
    count = whole ? static_cast<int64_t>(number) : 0;
  }
  if (*count < 1) {
    fail(
        token->column,
        "expected a whole number >= 1, or no number to go on for ever");
  }
  return *count;
}

std::uint64_t Call::seed() const {
  const Token* token = find("seed");
  if (token == nullptr) {
    return 0;
  }
  // Not by way of a double: a seed may have all 64 bits.
  const auto seed = number_in<std::uint64_t>(token->text);
  if (!seed) {
    fail(token->column, "expected a whole number from 0 to 2^64 - 1");
  }
  return *seed;
}

}  // namespace stepsize::detail
