#pragma once

// The loop of AveragedModel: see step_loops.h, which includes it.

#include <cstdint>

#include "csrc/kernels/loop_types.h"

namespace stepsize::detail {

/// The numbers of an update of an average.
struct AverageNumbers {
  double share;  ///< of the new weight
};

namespace {

/// Over the weight, which is read alone, and in the place of a state the
/// average. As at::lerp() of a number does it, without fused operations.
template <typename P, typename S>
void average_loop(
    void* const* arrays,
    int64_t begin,
    int64_t end,
    const AverageNumbers& numbers) {
  using M = typename Math<P>::Type;
  const P* __restrict weights = static_cast<const P*>(arrays[0]);
  S* __restrict averages = static_cast<S*>(arrays[2]);
  const M share = static_cast<M>(numbers.share);
  if (share < M(0.5)) {
    for (int64_t i = begin; i < end; ++i) {
      const M average = load(averages[i]);
      store(averages[i], average + share * (load(weights[i]) - average));
    }
    return;
  }
  const M rest = M(1) - share;
  for (int64_t i = begin; i < end; ++i) {
    const M weight = load(weights[i]);
    store(averages[i], weight - (weight - load(averages[i])) * rest);
  }
}

}  // namespace
}  // namespace stepsize::detail
