#pragma once

#include <stepsize/schedule/schedule.h>

#include <cstdint>
#include <string>
#include <vector>

namespace stepsize {

/// What lint() can find.
enum class LintKind : std::uint8_t {
  kFirstUpdateAtZero,  ///< the factor at t = 0 is 0: that update is wasted
  kJumpAtJoin,         ///< A > B where A's end is not B's start
  kFloorNotReached,    ///< the run ends above the schedule's lowest value
  kRiseAfterEnd,       ///< having come down, the factor is up again at the end
  kRunShorter,         ///< the run ends before the schedule does
  kRunLonger,          ///< the run goes on after the schedule has ended
  kNoFactor,           ///< at an update the schedule refuses to give a factor
  kFloorAboveOne,      ///< no factor is as low as 1: perhaps one meant a rate
};

/// One finding.
struct LintWarning {
  LintKind kind;
  double at;            ///< the time it is about
  std::string message;  ///< one line for a person, with the numbers
};

/// Looks for the common mistakes of a schedule that is to drive a run of
/// `run_length` steps (t = 0 .. run_length - 1), ordered by time. An empty
/// answer is a clean bill. Where the schedule has no factor (growth beyond the
/// range of a double, a callable below 0) that is a finding, and the run is
/// looked at up to there. Throws std::invalid_argument where run_length is not
/// finite and > 0, and what a callable throws but std::domain_error.
std::vector<LintWarning> lint(const Schedule& schedule, double run_length);

}  // namespace stepsize
