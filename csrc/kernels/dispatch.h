#pragma once

#include <stepsize/kernels/cpu_capability.h>

#include "csrc/kernels/loops.h"

namespace stepsize::detail {

/// The best instruction set that this CPU has and the loops are compiled for.
CPUCapability supported_capability();

/// The loops of an instruction set, which the CPU must have.
const LoopTable& loops_of(CPUCapability capability);

/// The loops in use.
const LoopTable& loops();

/// Chooses the loops in use; throws where the CPU has not this capability.
void use_capability(CPUCapability capability);

}  // namespace stepsize::detail
