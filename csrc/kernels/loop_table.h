#pragma once

#include "csrc/kernels/loops.h"
#include "csrc/kernels/norm_loops.h"

namespace stepsize::detail {
namespace {

template <typename T>
constexpr void set_norms(LoopTable& table, Format type) {
  table.sum_squares[type] = sum_squares<T>;
  table.scaled_sum_squares[type] = scaled_sum_squares<T>;
  table.max_abs[type] = max_abs<T>;
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
  set_compact<BFloat16Block>(table, kCompactBFloat16);
  set_compact<EightBitBlock>(table, kCompact8Bit);
  return table;
}

}  // namespace
}  // namespace stepsize::detail
