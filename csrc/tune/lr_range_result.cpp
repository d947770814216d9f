#include <stepsize/tune/lr_range_result.h>

#include <c10/util/Exception.h>
#include <stepsize/schedule/ramp.h>
#include <torch/optim/optimizer.h>

#include <cmath>
#include <cstddef>
#include <string>

#include "csrc/core/check.h"

namespace stepsize {
namespace {

constexpr char kResult[] = "LRRangeTestResult";

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
  return suggestion(constant(), 1);
}

double LRRangeTestResult::suggestion(
    const Schedule& schedule, int64_t updates) const {
  const auto found = suggestions.for_schedule(schedule, updates);
  TORCH_CHECK(
      found.has_value(),
      kResult,
      ": there is no suggestion; status ",
      to_string(status),
      " (",
      reason,
      ")");
  return *found;
}

void LRRangeTestResult::apply(torch::optim::Optimizer& optimizer) const {
  apply(optimizer, suggestion());
}

void LRRangeTestResult::apply(
    torch::optim::Optimizer& optimizer, double lr) const {
  detail::check_option(
      std::isfinite(lr) && lr > 0, kResult, "lr", "finite and > 0", lr);
  auto& groups = optimizer.param_groups();
  TORCH_CHECK(
      groups.size() == group_ratios.size(),
      kResult,
      ": the optimizer must have as many parameter groups as the one that was "
      "tested (",
      std::to_string(group_ratios.size()),
      "), got ",
      std::to_string(groups.size()));
  for (std::size_t g = 0; g < groups.size(); ++g) {
    groups[g].options().set_lr(lr * group_ratios[g]);
  }
}

}  // namespace stepsize
