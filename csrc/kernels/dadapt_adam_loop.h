#pragma once

// The loop of DAdaptAdam: see step_loops.h, which includes it.

#include <cstdint>

#include "csrc/kernels/loop_types.h"
#include "csrc/kernels/sum_lanes.h"

namespace stepsize::detail {

/// The numbers of a DAdaptAdam step.
struct DAdaptAdamNumbers {
  double beta1;
  double beta2;
  double root_beta2;
  double eps;
  double decay;   ///< of the gradient's side, 0 where it is decoupled
  double keep;    ///< factor of the parameter
  double rate;    ///< of the gradient in the mean, 1 - beta1 included
  double weight;  ///< of the gradient in s, 1 - sqrt(beta2) included
};
/// Its sums: of g s / (sqrt(v) + eps), s and v being those of before, and of
/// |s| after.
constexpr int kDAdaptAdamSums = 2;

namespace {

template <typename P, typename S>
void dadapt_adam_loop(
    void* const* arrays,
    int64_t begin,
    int64_t end,
    const DAdaptAdamNumbers& numbers,
    double* sums) {
  using M = typename Math<P>::Type;
  P* __restrict params = static_cast<P*>(arrays[0]);
  const P* __restrict grads = static_cast<const P*>(arrays[1]);
  S* __restrict means = static_cast<S*>(arrays[2]);
  S* __restrict squares = static_cast<S*>(arrays[3]);
  S* __restrict weighted = static_cast<S*>(arrays[4]);
  const M beta1 = static_cast<M>(numbers.beta1);
  const M beta2 = static_cast<M>(numbers.beta2);
  const M root_beta2 = static_cast<M>(numbers.root_beta2);
  const M one_minus_beta2 = static_cast<M>(1.0 - numbers.beta2);
  const M eps = static_cast<M>(numbers.eps);
  const M decay = static_cast<M>(numbers.decay);
  const M keep = static_cast<M>(numbers.keep);
  const M rate = static_cast<M>(numbers.rate);
  const M weight = static_cast<M>(numbers.weight);
  double along[kSumLanes] = {};
  double size[kSumLanes] = {};
  double along_terms[kSumChunk];
  double size_terms[kSumChunk];
  for (int64_t from = begin; from < end; from += kSumChunk) {
    const int64_t count = end - from < kSumChunk ? end - from : kSumChunk;
    for (int64_t j = 0; j < count; ++j) {
      const int64_t i = from + j;
      const M param = load(params[i]);
      const M grad = load(grads[i]) + decay * param;
      const M last_square = load(squares[i]);
      const M last_sum = load(weighted[i]);
      along_terms[j] =
          static_cast<double>(grad) *
          static_cast<double>(last_sum / (square_root(last_square) + eps));
      const M mean = beta1 * load(means[i]) + rate * grad;
      store(means[i], mean);
      const M square = beta2 * last_square + one_minus_beta2 * grad * grad;
      store(squares[i], square);
      const M sum = root_beta2 * last_sum + weight * grad;
      store(weighted[i], sum);
      size_terms[j] = static_cast<double>(sum < M(0) ? -sum : sum);
      store(params[i], param * keep - mean / (square_root(square) + eps));
    }
    add_to_lanes(along, along_terms, count);
    add_to_lanes(size, size_terms, count);
  }
  sums[0] += lane_total(along);
  sums[1] += lane_total(size);
}

}  // namespace
}  // namespace stepsize::detail
