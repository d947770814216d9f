#pragma once

#include "csrc/kernels/norm_loops.h"
#include "csrc/kernels/step_loops.h"

namespace stepsize::detail {
namespace {

template <typename T>
constexpr void set_norms(LoopTable& table, Format type) {
  table.sum_squares[type] = sum_squares<T>;
  table.scaled_sum_squares[type] = scaled_sum_squares<T>;
  table.max_abs[type] = max_abs<T>;
}

template <typename P, typename S>
constexpr void set_steps(LoopTable& table, Format format) {
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
  adam[0][0] = adam_loop<P, S, false, false>;
  adam[0][1] = adam_loop<P, S, false, true>;
  adam[1][0] = adam_loop<P, S, true, false>;
  adam[1][1] = adam_loop<P, S, true, true>;
}

/// All loops, compiled as the including source is.
constexpr LoopTable make_loop_table() {
  LoopTable table = {};
  set_norms<float>(table, kFloat32);
  set_norms<double>(table, kFloat64);
  set_norms<BFloat16Bits>(table, kBFloat16);
  set_norms<Float16Bits>(table, kFloat16);
  set_steps<float, float>(table, kFloat32);
  set_steps<double, double>(table, kFloat64);
  set_steps<BFloat16Bits, BFloat16Bits>(table, kBFloat16);
  set_steps<Float16Bits, Float16Bits>(table, kFloat16);
  set_steps<BFloat16Bits, float>(table, kBFloat16WithFloat32State);
  set_steps<Float16Bits, float>(table, kFloat16WithFloat32State);
  return table;
}

}  // namespace
}  // namespace stepsize::detail
