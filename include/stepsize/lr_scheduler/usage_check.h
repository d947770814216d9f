#pragma once

#include <cstdint>

namespace stepsize {

/// What schedulers do about a mistake in how they are used.
enum class UsageCheck : std::uint8_t {
  kOff,    ///< nothing
  kWarn,   ///< one TORCH_WARN a scheduler and mistake
  kThrow,  ///< c10::Error, and nothing has changed: for tests
};

/// Sets what every scheduler of the process does from now on about
///
/// - a base rate that another scheduler in use on the optimizer has lowered,
/// - two of them that overwrite each other's rates step by step,
/// - step() before the first optimizer.step(), or more often than that.
///
/// By default they warn. Looked at are rates, and for the last, in the first 32
/// steps, whether the parameters have changed: their version counters and up
/// to 4096 numbers of them. A loop that makes no updates (a plot) is none of
/// these, nor is an update that was skipped for a gradient that is not finite.
void set_scheduler_usage_check(UsageCheck check);

UsageCheck scheduler_usage_check();

}  // namespace stepsize
