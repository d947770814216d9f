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
#include "csrc/kernels/update_rules.h"

namespace stepsize::detail {

struct SGDArrays {
  void* param;
  const void* grad;
  void* momentum;
};

struct AdamArrays {
  void* param;
  const void* grad;
  void* mean;
  void* square;
  void* max_square;
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

template <typename P, typename S, MomentumMode kMode, bool kCoupled>
void sgd_loop(
    const SGDArrays& arrays,
    int64_t begin,
    int64_t end,
    const SGDNumbers& numbers) {
  using M = typename Math<P>::Type;
  P* __restrict params = static_cast<P*>(arrays.param);
  const P* __restrict grads = static_cast<const P*>(arrays.grad);
  S* __restrict buffers = static_cast<S*>(arrays.momentum);
  const SGDRule<M, kMode, kCoupled> rule(numbers);
  for (int64_t i = begin; i < end; ++i) {
    M buffer = M(0);
    if (kMode == kNext || kMode == kNextNesterov) buffer = load(buffers[i]);
    const M param = rule(load(params[i]), load(grads[i]), buffer);
    if (kMode != kNoMomentum) store(buffers[i], buffer);
    store(params[i], param);
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
  const AdamRule<M, kCoupled, false, true> rule(numbers);
  int64_t count = 0;
  for (int64_t i = begin; i < end; ++i) {
    const M grad = rule.coming_gradient(load(params[i]), load(grads[i]));
    const M mean = rule.coming_mean(grad, load(means[i]));
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
  const AdamRule<M, kCoupled, kAmsgrad, kCautious> rule(numbers);
  for (int64_t i = begin; i < end; ++i) {
    M mean = load(means[i]);
    M square = load(squares[i]);
    M largest = M(0);
    if (kAmsgrad) largest = load(max_squares[i]);
    const M param =
        rule(load(params[i]), load(grads[i]), mean, square, largest);
    store(means[i], mean);
    store(squares[i], square);
    if (kAmsgrad) store(max_squares[i], largest);
    store(params[i], param);
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
  const LionRule<M> rule(numbers);
  for (int64_t i = begin; i < end; ++i) {
    M mean = load(means[i]);
    const M param = rule(load(params[i]), load(grads[i]), mean);
    store(means[i], mean);
    store(params[i], param);
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
