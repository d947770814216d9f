#pragma once

#include <stepsize/schedule/schedule.h>

#include <cstdint>
#include <optional>
#include <string>

namespace stepsize::detail {

/// A linear warm-up, its options checked and errors in the name of `kind`.
Schedule linear_warmup(
    const std::string& kind,
    int64_t warmup_steps,
    const std::optional<double>& start_factor);

}  // namespace stepsize::detail
