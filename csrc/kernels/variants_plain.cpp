// The loops on other processors than x86-64 and with other compilers.
#include "csrc/kernels/dispatch.h"

namespace stepsize::detail {

CPUCapability supported_capability() { return CPUCapability::kBase; }

const LoopTable& loops_of(CPUCapability) { return base_loops(); }

}  // namespace stepsize::detail
