#pragma once

// The two loops of LAMB: one renews the moments and sums the squares of which
// the norms are the roots, the other one makes the update by them. It computes
// the direction anew, which is cheaper than to write and read it.

#include <cstdint>

#include "csrc/kernels/loop_types.h"
#include "csrc/kernels/square_sums.h"

namespace stepsize::detail {

/// The numbers of a LAMB step.
struct LambNumbers {
  double beta1;
  double beta2;
  double eps;
  double decay;
  double mean_scale;    ///< 1 / (1 - beta1^t)
  double inverse_root;  ///< 1 / sqrt(1 - beta2^t)
  double step_size;     ///< lr times the trust ratio
};

/// Sums of squares of a part of one layer.
struct LayerSums {
  double weights;
  double updates;  ///< of what the weights are compared with
};

/// Over elements of parameter, gradient, mean and square.
using LambMomentLoop = LayerSums (*)(
    void* const* arrays,
    int64_t begin,
    int64_t end,
    const LambNumbers& numbers);

namespace {

template <typename M>
struct LambScalars {
  explicit LambScalars(const LambNumbers& numbers)
      : beta1(static_cast<M>(numbers.beta1)),
        beta2(static_cast<M>(numbers.beta2)),
        one_minus_beta1(static_cast<M>(1.0 - numbers.beta1)),
        one_minus_beta2(static_cast<M>(1.0 - numbers.beta2)),
        eps(static_cast<M>(numbers.eps)),
        decay(static_cast<M>(numbers.decay)),
        mean_scale(static_cast<M>(numbers.mean_scale)),
        inverse_root(static_cast<M>(numbers.inverse_root)),
        step_size(static_cast<M>(numbers.step_size)) {}

  inline M next_mean(M mean, M grad) const {
    return beta1 * mean + one_minus_beta1 * grad;
  }
  inline M next_square(M square, M grad) const {
    return beta2 * square + one_minus_beta2 * grad * grad;
  }
  inline M direction(M param, M mean, M square) const {
    return mean * mean_scale / (square_root(square) * inverse_root + eps) +
           decay * param;
  }

  M beta1;
  M beta2;
  M one_minus_beta1;
  M one_minus_beta2;
  M eps;
  M decay;
  M mean_scale;
  M inverse_root;
  M step_size;
};

template <typename P, typename S>
LayerSums lamb_moment_loop(
    void* const* arrays,
    int64_t begin,
    int64_t end,
    const LambNumbers& numbers) {
  using M = typename Math<P>::Type;
  const P* __restrict params = static_cast<const P*>(arrays[0]);
  const P* __restrict grads = static_cast<const P*>(arrays[1]);
  S* __restrict means = static_cast<S*>(arrays[2]);
  S* __restrict squares = static_cast<S*>(arrays[3]);
  const LambScalars<M> scalars(numbers);
  double weights[kLanes];
  double updates[kLanes];
  SquareSums weight_sums;
  SquareSums update_sums;
  int64_t i = begin;
  for (; i + kLanes <= end; i += kLanes) {
    for (int j = 0; j < kLanes; ++j) {
      const M param = load(params[i + j]);
      const M grad = load(grads[i + j]);
      const M mean = scalars.next_mean(load(means[i + j]), grad);
      const M square = scalars.next_square(load(squares[i + j]), grad);
      store(means[i + j], mean);
      store(squares[i + j], square);
      weights[j] = param;
      updates[j] = scalars.direction(param, mean, square);
    }
    weight_sums.add(weights);
    update_sums.add(updates);
  }
  if (i < end) {
    for (int j = 0; j < kLanes; ++j) {
      weights[j] = 0;
      updates[j] = 0;
    }
    for (int j = 0; i + j < end; ++j) {
      const M param = load(params[i + j]);
      const M grad = load(grads[i + j]);
      const M mean = scalars.next_mean(load(means[i + j]), grad);
      const M square = scalars.next_square(load(squares[i + j]), grad);
      store(means[i + j], mean);
      store(squares[i + j], square);
      weights[j] = param;
      updates[j] = scalars.direction(param, mean, square);
    }
    weight_sums.add(weights);
    update_sums.add(updates);
  }
  LayerSums sums;
  sums.weights = total(weight_sums);
  sums.updates = total(update_sums);
  return sums;
}

template <typename P, typename S>
void lamb_loop(
    void* const* arrays,
    int64_t begin,
    int64_t end,
    const LambNumbers& numbers) {
  using M = typename Math<P>::Type;
  P* __restrict params = static_cast<P*>(arrays[0]);
  const S* __restrict means = static_cast<const S*>(arrays[2]);
  const S* __restrict squares = static_cast<const S*>(arrays[3]);
  const LambScalars<M> scalars(numbers);
  for (int64_t i = begin; i < end; ++i) {
    const M param = load(params[i]);
    const M direction =
        scalars.direction(param, load(means[i]), load(squares[i]));
    store(params[i], param - scalars.step_size * direction);
  }
}

}  // namespace
}  // namespace stepsize::detail
