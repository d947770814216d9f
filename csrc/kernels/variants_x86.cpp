// The loops on x86-64 with GCC or Clang.
#include "csrc/kernels/dispatch.h"

namespace stepsize::detail {

CPUCapability supported_capability() {
  // These ask whether the operating system saves the registers, too.
  if (!__builtin_cpu_supports("avx2")) return CPUCapability::kBase;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    return CPUCapability::kAVX512;
  }
  return CPUCapability::kAVX2;
}

const LoopTable& loops_of(CPUCapability capability) {
  switch (capability) {
    case CPUCapability::kAVX512:
      return avx512_loops();
    case CPUCapability::kAVX2:
      return avx2_loops();
    case CPUCapability::kBase:
      break;
  }
  return base_loops();
}

}  // namespace stepsize::detail
