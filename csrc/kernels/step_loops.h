#pragma once

// All that the fused steps are made of: numbers, arrays and loop of each
// optimizer, and the table of its loops. Another one comes here and nowhere
// else in this room; the optimizer's own source may drive it by CpuWork.

#include <cstdint>

#include "csrc/kernels/average_loop.h"
#include "csrc/kernels/dadapt_adam_loop.h"
#include "csrc/kernels/diagonal_hessian_loop.h"
#include "csrc/kernels/dog_loop.h"
#include "csrc/kernels/hypergradient_loop.h"
#include "csrc/kernels/lamb_loop.h"
#include "csrc/kernels/loop_types.h"
#include "csrc/kernels/prodigy_loop.h"
#include "csrc/kernels/schedule_free_loop.h"
#include "csrc/kernels/sum_lanes.h"
#include "csrc/kernels/unscale_loop.h"

namespace stepsize::detail {

enum MomentumMode {
  kNoMomentum,
  kFirst,
  kNext,
  kFirstNesterov,
  kNextNesterov,
};
constexpr int kMomentumModeCount = 5;

/// The numbers of an SGD step, in the form in which the loops want them.
struct SGDNumbers {
  double lr;
  double momentum;
  double undamped;  ///< 1 - dampening
  double decay;     ///< of the gradient's side, 0 where it is decoupled
  double keep;      ///< factor of the parameter: 1 - lr * decoupled decay
  double coarse;    ///< factor of the gradient, before `scale`: see Scale
  double scale;     ///< factor of the gradient, its sign for maximize included
};

struct SGDArrays {
  void* param;
  const void* grad;
  void* momentum;
};

/// The numbers of an Adam step.
struct AdamNumbers {
  double beta1;
  double beta2;
  double eps;
  double decay;
  double keep;
  double coarse;
  double scale;
  double step_size;     ///< lr / (1 - beta1^t)
  double inverse_root;  ///< 1 / sqrt(1 - beta2^t)
  double mask;          ///< factor of a cautious update that is not left out
};

struct AdamArrays {
  void* param;
  const void* grad;
  void* mean;
  void* square;
  void* max_square;
};

/// The numbers of a Lion step.
struct LionNumbers {
  double beta1;
  double beta2;
  double keep;  ///< factor of the parameter: 1 - lr * decay
  double lr;
};

/// A loop over elements of parameter, gradient and state, in the order of the
/// optimizer's kinds of state.
template <typename Numbers>
using StepLoop = void (*)(
    void* const* arrays, int64_t begin, int64_t end, const Numbers& numbers);

using SGDLoop = void (*)(
    const SGDArrays& arrays,
    int64_t begin,
    int64_t end,
    const SGDNumbers& numbers);
using AdamLoop = void (*)(
    const AdamArrays& arrays,
    int64_t begin,
    int64_t end,
    const AdamNumbers& numbers);
/// How many elements a cautious step moves.
using AdamCountLoop = int64_t (*)(
    const AdamArrays& arrays,
    int64_t begin,
    int64_t end,
    const AdamNumbers& numbers);

/// The loops of one instruction set.
struct StepTable {
  SGDLoop sgd[kFormatCount][kMomentumModeCount][2];  ///< [..][coupled decay]
  AdamLoop adam[kFormatCount][2][2][2];  ///< [..][coupled][amsgrad][cautious]
  AdamCountLoop adam_count[kFormatCount][2];  ///< [..][coupled decay]
  StepLoop<LionNumbers> lion[kFormatCount];
  StepLoop<ScheduleFreeSGDNumbers> schedule_free_sgd[kFormatCount];
  StepLoop<ScheduleFreeAdamNumbers> schedule_free_adam[kFormatCount];
  LambMomentLoop lamb_moments[kFormatCount];
  StepLoop<LambNumbers> lamb[kFormatCount];
  StepLoop<AdaHessianNumbers> ada_hessian[kFormatCount];
  StepLoop<SophiaNumbers> sophia[kFormatCount];
  SumLoop<ProdigyNumbers> prodigy[kFormatCount];
  SumLoop<DAdaptAdamNumbers> dadapt_adam[kFormatCount];
  SumLoop<DoGNumbers> dog_sums[kFormatCount];
  StepLoop<DoGNumbers> dog[kFormatCount];
  SumLoop<HypergradientSGDNumbers> hypergradient_sgd_sums[kFormatCount];
  StepLoop<HypergradientSGDNumbers> hypergradient_sgd[kFormatCount];
  SumLoop<HypergradientAdamNumbers> hypergradient_adam_sums[kFormatCount];
  StepLoop<AdamNumbers> plain_adam[kFormatCount];
  StepLoop<AverageNumbers> average[kFormatCount];
  SumLoop<UnscaleNumbers> unscale[kFormatCount];
};

namespace {

// The scalars are local copies: read through a reference they might change with
// every store, and the loops would not vectorize. The operations and their
// order are LibTorch's, so that both round alike.

template <typename P, typename S, MomentumMode kMode, bool kCoupled>
void sgd_loop(
    const SGDArrays& arrays,
    int64_t begin,
    int64_t end,
    const SGDNumbers& numbers) {
  using M = typename Math<P>::Type;
  constexpr bool kNesterov = kMode == kFirstNesterov || kMode == kNextNesterov;
  constexpr bool kIsFirst = kMode == kFirst || kMode == kFirstNesterov;
  P* __restrict params = static_cast<P*>(arrays.param);
  const P* __restrict grads = static_cast<const P*>(arrays.grad);
  S* __restrict buffers = static_cast<S*>(arrays.momentum);
  const M lr = static_cast<M>(numbers.lr);
  const M momentum = static_cast<M>(numbers.momentum);
  const M undamped = static_cast<M>(numbers.undamped);
  const M decay = static_cast<M>(numbers.decay);
  const M keep = static_cast<M>(numbers.keep);
  const M coarse = static_cast<M>(numbers.coarse);
  const M scale = static_cast<M>(numbers.scale);
  for (int64_t i = begin; i < end; ++i) {
    const M param = load(params[i]);
    M direction = load(grads[i]) * coarse * scale;
    if (kCoupled) direction = direction + decay * param;
    if (kMode != kNoMomentum) {
      M buffer = direction;
      if (!kIsFirst) {
        buffer = momentum * load(buffers[i]) + undamped * direction;
      }
      store(buffers[i], buffer);
      direction = kNesterov ? direction + momentum * buffer : buffer;
    }
    store(params[i], param * keep - lr * direction);
  }
}

template <typename P, typename S, bool kCoupled>
int64_t adam_count_loop(
    const AdamArrays& arrays,
    int64_t begin,
    int64_t end,
    const AdamNumbers& numbers) {
  using M = typename Math<P>::Type;
  const P* params = static_cast<const P*>(arrays.param);
  const P* grads = static_cast<const P*>(arrays.grad);
  const S* means = static_cast<const S*>(arrays.mean);
  const M beta1 = static_cast<M>(numbers.beta1);
  const M one_minus_beta1 = static_cast<M>(1.0 - numbers.beta1);
  const M decay = static_cast<M>(numbers.decay);
  const M coarse = static_cast<M>(numbers.coarse);
  const M scale = static_cast<M>(numbers.scale);
  int64_t count = 0;
  for (int64_t i = begin; i < end; ++i) {
    M grad = load(grads[i]) * coarse * scale;
    if (kCoupled) grad = grad + decay * load(params[i]);
    const M mean = beta1 * load(means[i]) + one_minus_beta1 * grad;
    count += mean * grad > M(0) ? 1 : 0;
  }
  return count;
}

template <typename P, typename S, bool kCoupled, bool kAmsgrad, bool kCautious>
void adam_loop(
    const AdamArrays& arrays,
    int64_t begin,
    int64_t end,
    const AdamNumbers& numbers) {
  using M = typename Math<P>::Type;
  P* __restrict params = static_cast<P*>(arrays.param);
  const P* __restrict grads = static_cast<const P*>(arrays.grad);
  S* __restrict means = static_cast<S*>(arrays.mean);
  S* __restrict squares = static_cast<S*>(arrays.square);
  S* __restrict max_squares = static_cast<S*>(arrays.max_square);
  const M beta1 = static_cast<M>(numbers.beta1);
  const M beta2 = static_cast<M>(numbers.beta2);
  const M one_minus_beta1 = static_cast<M>(1.0 - numbers.beta1);
  const M one_minus_beta2 = static_cast<M>(1.0 - numbers.beta2);
  const M eps = static_cast<M>(numbers.eps);
  const M decay = static_cast<M>(numbers.decay);
  const M keep = static_cast<M>(numbers.keep);
  const M coarse = static_cast<M>(numbers.coarse);
  const M scale = static_cast<M>(numbers.scale);
  const M step_size = static_cast<M>(numbers.step_size);
  const M inverse_root = static_cast<M>(numbers.inverse_root);
  const M mask = static_cast<M>(numbers.mask);
  for (int64_t i = begin; i < end; ++i) {
    const M param = load(params[i]);
    M grad = load(grads[i]) * coarse * scale;
    if (kCoupled) grad = grad + decay * param;
    const M mean = beta1 * load(means[i]) + one_minus_beta1 * grad;
    store(means[i], mean);
    M square = beta2 * load(squares[i]) + one_minus_beta2 * grad * grad;
    store(squares[i], square);
    if (kAmsgrad) {
      // The comparison is false for a NaN, which thereby stays.
      const M largest = load(max_squares[i]);
      square = square <= largest ? largest : square;
      store(max_squares[i], square);
    }
    const M denominator = square_root(square) * inverse_root + eps;
    M step = step_size * mean / denominator;
    if (kCautious) {
      // False only of those that are left out, so that a NaN gets on.
      step = mean * grad <= M(0) ? M(0) : step * mask;
    }
    store(params[i], param * keep - step);
  }
}

/// Adam as a StepLoop, with coupled decay.
template <typename P, typename S>
void plain_adam_loop(
    void* const* arrays,
    int64_t begin,
    int64_t end,
    const AdamNumbers& numbers) {
  const AdamArrays own = {arrays[0], arrays[1], arrays[2], arrays[3], nullptr};
  adam_loop<P, S, true, false, false>(own, begin, end, numbers);
}

template <typename P, typename S>
void lion_loop(
    void* const* arrays,
    int64_t begin,
    int64_t end,
    const LionNumbers& numbers) {
  using M = typename Math<P>::Type;
  P* __restrict params = static_cast<P*>(arrays[0]);
  const P* __restrict grads = static_cast<const P*>(arrays[1]);
  S* __restrict means = static_cast<S*>(arrays[2]);
  const M beta1 = static_cast<M>(numbers.beta1);
  const M beta2 = static_cast<M>(numbers.beta2);
  const M one_minus_beta1 = static_cast<M>(1.0 - numbers.beta1);
  const M one_minus_beta2 = static_cast<M>(1.0 - numbers.beta2);
  const M keep = static_cast<M>(numbers.keep);
  const M lr = static_cast<M>(numbers.lr);
  for (int64_t i = begin; i < end; ++i) {
    const M grad = load(grads[i]);
    const M mean = load(means[i]);
    const M mix = beta1 * mean + one_minus_beta1 * grad;
    // Neither is true of a NaN, which thereby gets into the parameter.
    M sign = mix > M(0) ? M(1) : mix;
    sign = mix < M(0) ? M(-1) : sign;
    store(means[i], beta2 * mean + one_minus_beta2 * grad);
    store(params[i], load(params[i]) * keep - lr * sign);
  }
}

template <typename P, typename S>
constexpr void set_steps(StepTable& table, Format format) {
  auto& sgd = table.sgd[format];
  sgd[kNoMomentum][0] = sgd_loop<P, S, kNoMomentum, false>;
  sgd[kNoMomentum][1] = sgd_loop<P, S, kNoMomentum, true>;
  sgd[kFirst][0] = sgd_loop<P, S, kFirst, false>;
  sgd[kFirst][1] = sgd_loop<P, S, kFirst, true>;
  sgd[kNext][0] = sgd_loop<P, S, kNext, false>;
  sgd[kNext][1] = sgd_loop<P, S, kNext, true>;
  sgd[kFirstNesterov][0] = sgd_loop<P, S, kFirstNesterov, false>;
  sgd[kFirstNesterov][1] = sgd_loop<P, S, kFirstNesterov, true>;
  sgd[kNextNesterov][0] = sgd_loop<P, S, kNextNesterov, false>;
  sgd[kNextNesterov][1] = sgd_loop<P, S, kNextNesterov, true>;
  auto& adam = table.adam[format];
  adam[0][0][0] = adam_loop<P, S, false, false, false>;
  adam[0][0][1] = adam_loop<P, S, false, false, true>;
  adam[0][1][0] = adam_loop<P, S, false, true, false>;
  adam[0][1][1] = adam_loop<P, S, false, true, true>;
  adam[1][0][0] = adam_loop<P, S, true, false, false>;
  adam[1][0][1] = adam_loop<P, S, true, false, true>;
  adam[1][1][0] = adam_loop<P, S, true, true, false>;
  adam[1][1][1] = adam_loop<P, S, true, true, true>;
  table.adam_count[format][0] = adam_count_loop<P, S, false>;
  table.adam_count[format][1] = adam_count_loop<P, S, true>;
  table.lion[format] = lion_loop<P, S>;
  table.schedule_free_sgd[format] = schedule_free_sgd_loop<P, S>;
  table.schedule_free_adam[format] = schedule_free_adam_loop<P, S>;
  table.lamb_moments[format] = lamb_moment_loop<P, S>;
  table.lamb[format] = lamb_loop<P, S>;
  table.ada_hessian[format] = ada_hessian_loop<P, S>;
  table.sophia[format] = sophia_loop<P, S>;
  table.prodigy[format] = prodigy_loop<P, S>;
  table.dadapt_adam[format] = dadapt_adam_loop<P, S>;
  table.dog_sums[format] = dog_sums<P, S>;
  table.dog[format] = dog_loop<P, S>;
  table.hypergradient_sgd_sums[format] = hypergradient_sgd_sums<P, S>;
  table.hypergradient_sgd[format] = hypergradient_sgd_loop<P, S>;
  table.hypergradient_adam_sums[format] = hypergradient_adam_sums<P, S>;
  table.plain_adam[format] = plain_adam_loop<P, S>;
  table.average[format] = average_loop<P, S>;
  table.unscale[format] = unscale_loop<P>;
}

}  // namespace
}  // namespace stepsize::detail
