#include "csrc/kernels/loop_table.h"

namespace stepsize::detail {
namespace {

constexpr LoopTable kTable = make_loop_table();

}  // namespace

const LoopTable& base_loops() { return kTable; }

}  // namespace stepsize::detail
