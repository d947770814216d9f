#pragma once

#include <cstddef>
#include <vector>

#include "csrc/tune/lr_curve.h"

namespace stepsize::detail {

/// Index of the last rate before the loss leaves its floor. A curve that falls
/// and stays low has it at its end.
///
/// The smooth curve begins to rise half a window too early. Medians of five
/// losses do not: a step in the losses is a step in them, at the same place.
/// The floor is their lowest value up to where the smooth curve has risen by
/// half its fall, and is left where a median is above it by a tenth of the fall
/// or by twice the noise, whichever is more. Only for a curve that falls.
std::size_t floor_end(const std::vector<double>& losses, const LRCurve& curve);

}  // namespace stepsize::detail
