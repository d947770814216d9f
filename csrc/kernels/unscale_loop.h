#pragma once

// The loop that unscales gradients: see step_loops.h, which includes it.

#include <cstdint>

#include "csrc/kernels/loop_types.h"
#include "csrc/kernels/sum_lanes.h"

namespace stepsize::detail {

/// The factor of the gradients, coarse * fine: see Scale.
struct UnscaleNumbers {
  double coarse;
  double fine;
};

namespace {

/// Adds 1 to the sum where an element was not finite.
template <typename P>
void unscale_loop(
    void* const* arrays,
    int64_t begin,
    int64_t end,
    const UnscaleNumbers& numbers,
    double* sums) {
  using M = typename Math<P>::Type;
  P* __restrict grads = static_cast<P*>(arrays[0]);
  const M coarse = static_cast<M>(numbers.coarse);
  const M fine = static_cast<M>(numbers.fine);
  int found = 0;
  for (int64_t i = begin; i < end; ++i) {
    const M grad = load(grads[i]);
    // NaN of a NaN and of an Inf.
    found |= grad - grad == M(0) ? 0 : 1;
    store(grads[i], grad * coarse * fine);
  }
  sums[0] += found;
}

}  // namespace
}  // namespace stepsize::detail
