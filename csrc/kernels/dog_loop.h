#pragma once

// The loops of DoG: see step_loops.h, which includes it.

#include <cstdint>

#include "csrc/kernels/loop_types.h"
#include "csrc/kernels/sum_lanes.h"

namespace stepsize::detail {

/// The numbers of a DoG step.
struct DoGNumbers {
  double decay;  ///< of the gradient's side
  double rate;   ///< none while the sums are made
};
/// Its sums: of (p - p0)^2, and of g^2.
constexpr int kDoGSums = 2;

namespace {

template <typename P, typename S>
void dog_sums(
    void* const* arrays,
    int64_t begin,
    int64_t end,
    const DoGNumbers& numbers,
    double* sums) {
  using M = typename Math<P>::Type;
  const P* __restrict params = static_cast<const P*>(arrays[0]);
  const P* __restrict grads = static_cast<const P*>(arrays[1]);
  const S* __restrict starts = static_cast<const S*>(arrays[2]);
  const M decay = static_cast<M>(numbers.decay);
  ProductSums far;
  ProductSums size;
  double moved[kSumStep];
  double own_grads[kSumStep];
  int64_t i = begin;
  for (; i + kSumStep <= end; i += kSumStep) {
    for (int j = 0; j < kSumStep; ++j) {
      const M param = load(params[i + j]);
      own_grads[j] = load(grads[i + j]) + decay * param;
      moved[j] =
          static_cast<double>(param) - static_cast<double>(load(starts[i + j]));
    }
    far.add(moved, moved);
    size.add(own_grads, own_grads);
  }
  if (i < end) {
    for (int j = 0; j < kSumStep; ++j) moved[j] = own_grads[j] = 0;
    for (int j = 0; i + j < end; ++j) {
      const M param = load(params[i + j]);
      own_grads[j] = load(grads[i + j]) + decay * param;
      moved[j] =
          static_cast<double>(param) - static_cast<double>(load(starts[i + j]));
    }
    far.add(moved, moved);
    size.add(own_grads, own_grads);
  }
  sums[0] += lane_total(far);
  sums[1] += lane_total(size);
}

template <typename P, typename S>
void dog_loop(
    void* const* arrays,
    int64_t begin,
    int64_t end,
    const DoGNumbers& numbers) {
  using M = typename Math<P>::Type;
  P* __restrict params = static_cast<P*>(arrays[0]);
  const P* __restrict grads = static_cast<const P*>(arrays[1]);
  const M decay = static_cast<M>(numbers.decay);
  const M rate = static_cast<M>(numbers.rate);
  for (int64_t i = begin; i < end; ++i) {
    const M param = load(params[i]);
    store(params[i], param - rate * (load(grads[i]) + decay * param));
  }
}

}  // namespace
}  // namespace stepsize::detail
