#include "csrc/kernels/loop_table.h"

namespace stepsize::detail {
namespace {

// A constant: nothing compiled for this CPU runs before it is chosen.
constexpr LoopTable kTable = make_loop_table();

}  // namespace

const LoopTable& avx2_loops() { return kTable; }

}  // namespace stepsize::detail
