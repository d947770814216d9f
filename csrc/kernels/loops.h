#pragma once

// What the loops of every instruction set offer. The sources that are compiled
// for a newer CPU include this header and no header with inline functions of
// external linkage, for the linker might take such a function's copy from there
// for the whole program, and an older CPU would crash in it.

#include "csrc/kernels/compact_loops.h"
#include "csrc/kernels/step_loops.h"

namespace stepsize::detail {

/// Sum of the squares of the elements [begin, end). `next`, where it is not
/// null, is the other place where the caller goes on reading: as many bytes
/// from there are fetched on the way, for hardware does not foresee that. (How
/// an array goes on it does foresee, and to fetch that too makes reading a
/// quarter slower.)
using SumSquaresLoop =
    double (*)(const void* data, int64_t begin, int64_t end, const void* next);
/// Sum of (scale * element)^2.
using ScaledSumSquaresLoop =
    double (*)(const void* data, int64_t begin, int64_t end, double scale);
/// Largest absolute value; NaN if there is one.
using MaxAbsLoop = double (*)(const void* data, int64_t begin, int64_t end);
/// Those of the steps are in step_loops.h and compact_loops.h.
struct LoopTable : StepTable, CompactTable {
  SumSquaresLoop sum_squares[kElementTypeCount];
  ScaledSumSquaresLoop scaled_sum_squares[kElementTypeCount];
  MaxAbsLoop max_abs[kElementTypeCount];
};

const LoopTable& base_loops();
const LoopTable& avx2_loops();
const LoopTable& avx512_loops();

}  // namespace stepsize::detail
