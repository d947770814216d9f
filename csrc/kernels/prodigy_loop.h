#pragma once

// The loop of Prodigy: see step_loops.h, which includes it.

#include <cstdint>

#include "csrc/kernels/loop_types.h"
#include "csrc/kernels/sum_lanes.h"

namespace stepsize::detail {

/// The numbers of a Prodigy step.
struct ProdigyNumbers {
  double beta1;
  double beta2;
  double beta3;
  double decay;   ///< of the gradient's side, 0 where it is decoupled
  double keep;    ///< factor of the parameter
  double d;       ///< factor of the gradient in both means
  double eps;     ///< times d already
  double weight;  ///< of the gradient in s
  double step_size;
};
/// Its sums: of g (p0 - p), and of |s|.
constexpr int kProdigySums = 2;

namespace {

template <typename P, typename S>
void prodigy_loop(
    void* const* arrays,
    int64_t begin,
    int64_t end,
    const ProdigyNumbers& numbers,
    double* sums) {
  using M = typename Math<P>::Type;
  P* __restrict params = static_cast<P*>(arrays[0]);
  const P* __restrict grads = static_cast<const P*>(arrays[1]);
  S* __restrict means = static_cast<S*>(arrays[2]);
  S* __restrict squares = static_cast<S*>(arrays[3]);
  S* __restrict weighted = static_cast<S*>(arrays[4]);
  const S* __restrict starts = static_cast<const S*>(arrays[5]);
  const M beta1 = static_cast<M>(numbers.beta1);
  const M beta2 = static_cast<M>(numbers.beta2);
  const M beta3 = static_cast<M>(numbers.beta3);
  const M one_minus_beta1 = static_cast<M>(1.0 - numbers.beta1);
  const M one_minus_beta2 = static_cast<M>(1.0 - numbers.beta2);
  const M decay = static_cast<M>(numbers.decay);
  const M keep = static_cast<M>(numbers.keep);
  const M d = static_cast<M>(numbers.d);
  const M eps = static_cast<M>(numbers.eps);
  const M weight = static_cast<M>(numbers.weight);
  const M step_size = static_cast<M>(numbers.step_size);
  double along[kSumLanes] = {};
  double size[kSumLanes] = {};
  double along_terms[kSumChunk];
  double size_terms[kSumChunk];
  for (int64_t from = begin; from < end; from += kSumChunk) {
    const int64_t count = end - from < kSumChunk ? end - from : kSumChunk;
    // Apart: of the arrays of both loops in one GCC would not find out that
    // they are different ones.
    for (int64_t j = 0; j < count; ++j) {
      const int64_t i = from + j;
      const M param = load(params[i]);
      const M grad = load(grads[i]) + decay * param;
      along_terms[j] =
          static_cast<double>(grad) *
          (static_cast<double>(load(starts[i])) - static_cast<double>(param));
    }
    for (int64_t j = 0; j < count; ++j) {
      const int64_t i = from + j;
      const M param = load(params[i]);
      const M grad = load(grads[i]) + decay * param;
      const M scaled = d * grad;
      const M mean = beta1 * load(means[i]) + one_minus_beta1 * scaled;
      store(means[i], mean);
      const M square =
          beta2 * load(squares[i]) + one_minus_beta2 * scaled * scaled;
      store(squares[i], square);
      const M sum = beta3 * load(weighted[i]) + weight * grad;
      store(weighted[i], sum);
      size_terms[j] = static_cast<double>(sum < M(0) ? -sum : sum);
      store(
          params[i],
          param * keep - step_size * mean / (square_root(square) + eps));
    }
    add_to_lanes(along, along_terms, count);
    add_to_lanes(size, size_terms, count);
  }
  sums[0] += lane_total(along);
  sums[1] += lane_total(size);
}

}  // namespace
}  // namespace stepsize::detail
