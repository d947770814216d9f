#pragma once

// The loops of HypergradientSGD and HypergradientAdam: see step_loops.h, which
// includes it.

#include <cstdint>

#include "csrc/kernels/loop_types.h"
#include "csrc/kernels/sum_lanes.h"

namespace stepsize::detail {

/// The numbers of a HypergradientSGD step.
struct HypergradientSGDNumbers {
  double decay;     ///< of the gradient's side
  double momentum;  ///< 0: none
  double undamped;  ///< 1 - dampening
  bool nesterov;    ///< there is a momentum buffer besides the direction
  double rate;      ///< none while the sums are made
};

/// The numbers of the sums of HypergradientAdam: those of the update before.
struct HypergradientAdamNumbers {
  double decay;
  double eps;
  double mean_scale;    ///< 1 / (1 - beta1^t), 0 where there was none
  double inverse_root;  ///< 1 / sqrt(1 - beta2^t)
};

/// Sums of g u, g^2 and u^2, u being the direction of the update before.
constexpr int kHypergradientSums = 3;

namespace {

template <typename P, typename S>
void hypergradient_sgd_sums(
    void* const* arrays,
    int64_t begin,
    int64_t end,
    const HypergradientSGDNumbers& numbers,
    double* sums) {
  using M = typename Math<P>::Type;
  const P* __restrict params = static_cast<const P*>(arrays[0]);
  const P* __restrict grads = static_cast<const P*>(arrays[1]);
  const S* __restrict directions = static_cast<const S*>(arrays[2]);
  const M decay = static_cast<M>(numbers.decay);
  double lanes[kHypergradientSums][kSumLanes] = {};
  double terms[kHypergradientSums][kSumChunk];
  for (int64_t from = begin; from < end; from += kSumChunk) {
    const int64_t count = end - from < kSumChunk ? end - from : kSumChunk;
    for (int64_t j = 0; j < count; ++j) {
      const int64_t i = from + j;
      const double grad =
          static_cast<double>(load(grads[i]) + decay * load(params[i]));
      const double direction = static_cast<double>(load(directions[i]));
      terms[0][j] = grad * direction;
      terms[1][j] = grad * grad;
      terms[2][j] = direction * direction;
    }
    for (int k = 0; k < kHypergradientSums; ++k) {
      add_to_lanes(lanes[k], terms[k], count);
    }
  }
  for (int k = 0; k < kHypergradientSums; ++k) sums[k] += lane_total(lanes[k]);
}

template <typename P, typename S>
void hypergradient_sgd_loop(
    void* const* arrays,
    int64_t begin,
    int64_t end,
    const HypergradientSGDNumbers& numbers) {
  using M = typename Math<P>::Type;
  P* __restrict params = static_cast<P*>(arrays[0]);
  const P* __restrict grads = static_cast<const P*>(arrays[1]);
  S* __restrict directions = static_cast<S*>(arrays[2]);
  const M decay = static_cast<M>(numbers.decay);
  const M momentum = static_cast<M>(numbers.momentum);
  const M undamped = static_cast<M>(numbers.undamped);
  const M rate = static_cast<M>(numbers.rate);
  if (numbers.nesterov) {
    S* __restrict buffers = static_cast<S*>(arrays[3]);
    for (int64_t i = begin; i < end; ++i) {
      const M param = load(params[i]);
      const M grad = load(grads[i]) + decay * param;
      const M buffer = momentum * load(buffers[i]) + undamped * grad;
      store(buffers[i], buffer);
      const M direction = grad + momentum * buffer;
      store(directions[i], direction);
      store(params[i], param - rate * direction);
    }
    return;
  }
  for (int64_t i = begin; i < end; ++i) {
    const M param = load(params[i]);
    const M grad = load(grads[i]) + decay * param;
    const M direction = momentum * load(directions[i]) + undamped * grad;
    store(directions[i], direction);
    store(params[i], param - rate * direction);
  }
}

template <typename P, typename S>
void hypergradient_adam_sums(
    void* const* arrays,
    int64_t begin,
    int64_t end,
    const HypergradientAdamNumbers& numbers,
    double* sums) {
  using M = typename Math<P>::Type;
  const P* __restrict params = static_cast<const P*>(arrays[0]);
  const P* __restrict grads = static_cast<const P*>(arrays[1]);
  const S* __restrict means = static_cast<const S*>(arrays[2]);
  const S* __restrict squares = static_cast<const S*>(arrays[3]);
  const M decay = static_cast<M>(numbers.decay);
  const M eps = static_cast<M>(numbers.eps);
  const M mean_scale = static_cast<M>(numbers.mean_scale);
  const M inverse_root = static_cast<M>(numbers.inverse_root);
  double lanes[kHypergradientSums][kSumLanes] = {};
  double terms[kHypergradientSums][kSumChunk];
  for (int64_t from = begin; from < end; from += kSumChunk) {
    const int64_t count = end - from < kSumChunk ? end - from : kSumChunk;
    for (int64_t j = 0; j < count; ++j) {
      const int64_t i = from + j;
      const double grad =
          static_cast<double>(load(grads[i]) + decay * load(params[i]));
      const M mean = load(means[i]);
      const M ratio = mean_scale * mean /
                      (square_root(load(squares[i])) * inverse_root + eps);
      // 0 / 0 where there was no gradient yet and eps is 0.
      const double direction = static_cast<double>(mean == M(0) ? M(0) : ratio);
      terms[0][j] = grad * direction;
      terms[1][j] = grad * grad;
      terms[2][j] = direction * direction;
    }
    for (int k = 0; k < kHypergradientSums; ++k) {
      add_to_lanes(lanes[k], terms[k], count);
    }
  }
  for (int k = 0; k < kHypergradientSums; ++k) sums[k] += lane_total(lanes[k]);
}

}  // namespace
}  // namespace stepsize::detail
