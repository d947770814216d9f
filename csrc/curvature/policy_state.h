#pragma once

#include <cstdint>
#include <vector>

namespace stepsize::detail {

/// What a number of a policy's state may be.
enum class StateNumber : std::uint8_t {
  kCount,        ///< an integer in [0, 2^53]
  kNotNegative,  ///< finite and >= 0
};

/// Throws c10::Error, naming the policy, unless the numbers are what they are
/// to be.
void check_policy_state(
    const char* policy,
    const std::vector<double>& state,
    const std::vector<StateNumber>& kinds);

// Rules of options that policies share.
bool is_positive_number(double value);
bool is_interval(int64_t value);

}  // namespace stepsize::detail
