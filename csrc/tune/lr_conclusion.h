#pragma once

#include <stepsize/tune/lr_range_result.h>
#include <stepsize/tune/lr_range_test.h>

#include <optional>

namespace stepsize::detail {

/// Adds to a result, whose rates, losses, status and reason are there, what the
/// curve says: the curves, the suggestions, the rest of the reason, and
/// kNoDescent.
/// `precision`: as lr_curve() has it. `highest_stable`: what the suggestions
/// are capped at, where it is known.
void conclude(
    LRRangeTestResult& result,
    const LRRangeTestOptions& options,
    double precision,
    std::optional<double> highest_stable);

}  // namespace stepsize::detail
