#include "csrc/lr_scheduler/warmup.h"

#include <stepsize/schedule/ramp.h>

#include "csrc/lr_scheduler/option_text.h"

namespace stepsize::detail {

Schedule linear_warmup(
    const std::string& kind,
    int64_t warmup_steps,
    const std::optional<double>& start_factor) {
  check_option(warmup_steps >= 0, kind, "warmup_steps", ">= 0", warmup_steps);
  const auto length = static_cast<double>(warmup_steps);
  if (!start_factor) return warmup(length);
  check_option(
      *start_factor >= 0 && *start_factor < 1,
      kind,
      "start_factor",
      "in [0, 1)",
      *start_factor);
  return warmup(length, WarmupShape::kLinear, *start_factor);
}

}  // namespace stepsize::detail
