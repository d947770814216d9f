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
/// - a rate that was set by hand (or by a range test's apply(), or by loading
///   the optimizer alone) after the scheduler was made: its next step undoes
///   it,
/// - with set_scheduler_order_check(true), the order of calls.
///
/// By default they warn.
void set_scheduler_usage_check(UsageCheck check);

/// Whether schedulers that are made from now on look for step() before the
/// first optimizer.step(), or more often than that. For debugging, and off by
/// default: LibTorch does not tell of an update, so that it is told, in the
/// first 32 steps, by whether the parameters have changed: their version
/// counters and up to 4096 numbers of them. A loop that makes no updates (a
/// plot) is no fault, nor is an update that was skipped for a gradient that is
/// not finite; but an update that rounds to nothing looks like none, and so
/// does one that was skipped and whose gradients are then cleared.
void set_scheduler_order_check(bool on);

UsageCheck scheduler_usage_check();

}  // namespace stepsize
