#pragma once

namespace stepsize {

/// The instruction sets that the loops on the CPU are compiled for.
enum class CPUCapability { kBase, kAVX2, kAVX512 };

/// The one in use: the best that this CPU has. The environment variable
/// STEPSIZE_CPU_CAPABILITY (base, avx2 or avx512), read at the first use,
/// lowers it; another value throws c10::Error. All of them give the same bits,
/// but for the products of Muon.
CPUCapability cpu_capability();

/// The name as the environment variable has it.
const char* to_string(CPUCapability capability);

}  // namespace stepsize
