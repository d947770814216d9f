#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

namespace stepsize::testing {

/// A call that must be refused, and what its message has to say: the name of
/// the factory, the argument, the rule and the value.
struct Refusal {
  std::function<void()> call;
  std::vector<std::string> says;
};

/// Whether the call throws std::invalid_argument with all of these words.
inline ::testing::AssertionResult is_refused(const Refusal& refusal) {
  std::string message;
  try {
    refusal.call();
    return ::testing::AssertionFailure()
           << "nothing thrown where the message should say '"
           << refusal.says.front() << "' ... '" << refusal.says.back() << "'";
  } catch (const std::invalid_argument& error) {
    message = error.what();
  }
  for (const std::string& words : refusal.says) {
    if (message.find(words) == std::string::npos) {
      return ::testing::AssertionFailure()
             << "'" << words << "' is not in: " << message;
    }
  }
  return ::testing::AssertionSuccess();
}

}  // namespace stepsize::testing
