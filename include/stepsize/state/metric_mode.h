#pragma once

#include <cstdint>

namespace stepsize {

/// Whether a metric is the better the smaller or the larger it is.
enum class MetricMode : std::uint8_t { kMin, kMax };

}  // namespace stepsize
