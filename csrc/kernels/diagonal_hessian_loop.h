#pragma once

// The loops of what divides by an estimate of the Hessian's diagonal:
// AdaHessian and SophiaH. The estimate's mean has been renewed before.

#include <cstdint>

#include "csrc/kernels/loop_types.h"

namespace stepsize::detail {

/// The numbers of an AdaHessian step.
struct AdaHessianNumbers {
  double beta1;
  double eps;
  double keep;          ///< factor of the parameter: 1 - lr * decay
  double step_size;     ///< lr / (1 - beta1^t)
  double inverse_root;  ///< 1 / sqrt(1 - beta2^k)
};

/// The numbers of a SophiaH step.
struct SophiaNumbers {
  double beta1;
  double gamma;
  double eps;
  double keep;  ///< factor of the parameter: 1 - lr * decay
  double lr;
};

namespace {

/// Over parameter, gradient, mean and square.
template <typename P, typename S>
void ada_hessian_loop(
    void* const* arrays,
    int64_t begin,
    int64_t end,
    const AdaHessianNumbers& numbers) {
  using M = typename Math<P>::Type;
  P* __restrict params = static_cast<P*>(arrays[0]);
  const P* __restrict grads = static_cast<const P*>(arrays[1]);
  S* __restrict means = static_cast<S*>(arrays[2]);
  const S* __restrict squares = static_cast<const S*>(arrays[3]);
  const M beta1 = static_cast<M>(numbers.beta1);
  const M one_minus_beta1 = static_cast<M>(1.0 - numbers.beta1);
  const M eps = static_cast<M>(numbers.eps);
  const M keep = static_cast<M>(numbers.keep);
  const M step_size = static_cast<M>(numbers.step_size);
  const M inverse_root = static_cast<M>(numbers.inverse_root);
  for (int64_t i = begin; i < end; ++i) {
    const M mean = beta1 * load(means[i]) + one_minus_beta1 * load(grads[i]);
    store(means[i], mean);
    const M divisor = square_root(load(squares[i])) * inverse_root + eps;
    store(params[i], load(params[i]) * keep - step_size * mean / divisor);
  }
}

/// Over parameter, gradient, mean and curvature.
template <typename P, typename S>
void sophia_loop(
    void* const* arrays,
    int64_t begin,
    int64_t end,
    const SophiaNumbers& numbers) {
  using M = typename Math<P>::Type;
  P* __restrict params = static_cast<P*>(arrays[0]);
  const P* __restrict grads = static_cast<const P*>(arrays[1]);
  S* __restrict means = static_cast<S*>(arrays[2]);
  const S* __restrict curvatures = static_cast<const S*>(arrays[3]);
  const M beta1 = static_cast<M>(numbers.beta1);
  const M one_minus_beta1 = static_cast<M>(1.0 - numbers.beta1);
  const M gamma = static_cast<M>(numbers.gamma);
  const M eps = static_cast<M>(numbers.eps);
  const M keep = static_cast<M>(numbers.keep);
  const M lr = static_cast<M>(numbers.lr);
  for (int64_t i = begin; i < end; ++i) {
    const M mean = beta1 * load(means[i]) + one_minus_beta1 * load(grads[i]);
    store(means[i], mean);
    const M scaled = gamma * load(curvatures[i]);
    const M divisor = scaled > eps ? scaled : eps;
    // By comparisons of the mean, so that 0 / 0 is 0. None is true of a NaN,
    // which thereby gets into the parameter.
    M step = mean > M(0) ? M(1) : mean;
    step = mean < M(0) ? M(-1) : step;
    const M quotient = mean / divisor;
    step = mean < divisor && -mean < divisor ? quotient : step;
    store(params[i], load(params[i]) * keep - lr * step);
  }
}

}  // namespace
}  // namespace stepsize::detail
