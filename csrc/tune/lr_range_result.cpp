#include <stepsize/tune/lr_range_result.h>

#include <c10/util/Exception.h>

#include <string>

namespace stepsize {
namespace {

// What to do where there is no suggestion.
const char* advice(const LRRangeTestResult& result) {
  switch (result.status) {
    case LRRangeStatus::kDiverged:
    case LRRangeStatus::kNonFinite:
      return "it never fell before: lower start_lr";
    case LRRangeStatus::kStopped:
      return "it had not fallen by then";
    default:
      return "raise end_lr or num_iterations, or average more data in an "
             "iteration";
  }
}

}  // namespace

const char* to_string(LRRangeStatus status) {
  switch (status) {
    case LRRangeStatus::kFinished:
      return "finished";
    case LRRangeStatus::kDiverged:
      return "diverged";
    case LRRangeStatus::kNonFinite:
      return "non-finite";
    case LRRangeStatus::kStopped:
      return "stopped by the callback";
    case LRRangeStatus::kNoDescent:
      return "no descent";
  }
  return "unknown";
}

double LRRangeTestResult::suggestion() const {
  TORCH_CHECK(
      suggestions.suggested.has_value(),
      "LRRangeTestResult: there is no suggestion, the loss never fell by more "
      "than its noise; status ",
      to_string(status),
      " (",
      reason,
      "); ",
      advice(*this));
  return *suggestions.suggested;
}

std::optional<double> LRRangeTestResult::optional_suggestion() const {
  return suggestions.suggested;
}

}  // namespace stepsize
