#pragma once

#include <cstdint>

#include "csrc/kernels/loop_types.h"

namespace stepsize::detail {

/// The numbers of a Schedule-Free step: with d the direction,
/// y = y + pull (z - y) + push d and z = z - lr d.
struct ScheduleFreeSGDNumbers {
  double lr;
  double decay;
  double pull;
  double push;
};

/// The same, d being g / (sqrt(v) inverse_root + eps) + decay y.
struct ScheduleFreeAdamNumbers {
  double lr;
  double decay;
  double pull;
  double push;
  double beta2;
  double eps;
  double inverse_root;  ///< 1 / sqrt(1 - beta2^t)
};

namespace {

template <typename P, typename S>
void schedule_free_sgd_loop(
    void* const* arrays,
    int64_t begin,
    int64_t end,
    const ScheduleFreeSGDNumbers& numbers) {
  using M = typename Math<P>::Type;
  P* __restrict params = static_cast<P*>(arrays[0]);
  const P* __restrict grads = static_cast<const P*>(arrays[1]);
  S* __restrict bases = static_cast<S*>(arrays[2]);
  const M lr = static_cast<M>(numbers.lr);
  const M decay = static_cast<M>(numbers.decay);
  const M pull = static_cast<M>(numbers.pull);
  const M push = static_cast<M>(numbers.push);
  for (int64_t i = begin; i < end; ++i) {
    const M y = load(params[i]);
    const M z = load(bases[i]);
    const M direction = load(grads[i]) + decay * y;
    store(params[i], y + pull * (z - y) + push * direction);
    store(bases[i], z - lr * direction);
  }
}

template <typename P, typename S>
void schedule_free_adam_loop(
    void* const* arrays,
    int64_t begin,
    int64_t end,
    const ScheduleFreeAdamNumbers& numbers) {
  using M = typename Math<P>::Type;
  P* __restrict params = static_cast<P*>(arrays[0]);
  const P* __restrict grads = static_cast<const P*>(arrays[1]);
  S* __restrict bases = static_cast<S*>(arrays[2]);
  S* __restrict squares = static_cast<S*>(arrays[3]);
  const M lr = static_cast<M>(numbers.lr);
  const M decay = static_cast<M>(numbers.decay);
  const M pull = static_cast<M>(numbers.pull);
  const M push = static_cast<M>(numbers.push);
  const M beta2 = static_cast<M>(numbers.beta2);
  const M one_minus_beta2 = static_cast<M>(1.0 - numbers.beta2);
  const M eps = static_cast<M>(numbers.eps);
  const M inverse_root = static_cast<M>(numbers.inverse_root);
  for (int64_t i = begin; i < end; ++i) {
    const M y = load(params[i]);
    const M z = load(bases[i]);
    const M grad = load(grads[i]);
    const M square = beta2 * load(squares[i]) + one_minus_beta2 * grad * grad;
    store(squares[i], square);
    const M denominator = square_root(square) * inverse_root + eps;
    const M direction = grad / denominator + decay * y;
    store(params[i], y + pull * (z - y) + push * direction);
    store(bases[i], z - lr * direction);
  }
}

}  // namespace
}  // namespace stepsize::detail
