#include "csrc/kernels/dispatch.h"

#include <c10/util/Exception.h>

#include <atomic>
#include <cstdlib>
#include <string>

namespace stepsize {
namespace {

constexpr CPUCapability kCapabilities[] = {
    CPUCapability::kBase, CPUCapability::kAVX2, CPUCapability::kAVX512};

CPUCapability first_capability() {
  const CPUCapability best = detail::supported_capability();
  const char* wish = std::getenv("STEPSIZE_CPU_CAPABILITY");
  if (wish == nullptr || *wish == '\0') return best;
  for (const CPUCapability capability : kCapabilities) {
    if (std::string(wish) == to_string(capability)) {
      return capability < best ? capability : best;
    }
  }
  TORCH_CHECK(
      false,
      "STEPSIZE_CPU_CAPABILITY must be base, avx2 or avx512, got ",
      wish);
}

std::atomic<CPUCapability>& capability_in_use() {
  static std::atomic<CPUCapability> capability(first_capability());
  return capability;
}

}  // namespace

CPUCapability cpu_capability() {
  return capability_in_use().load(std::memory_order_relaxed);
}

const char* to_string(CPUCapability capability) {
  switch (capability) {
    case CPUCapability::kAVX512:
      return "avx512";
    case CPUCapability::kAVX2:
      return "avx2";
    case CPUCapability::kBase:
      break;
  }
  return "base";
}

namespace detail {

const LoopTable& loops() { return loops_of(cpu_capability()); }

void use_capability(CPUCapability capability) {
  TORCH_CHECK(
      capability <= supported_capability(),
      "use_capability: this CPU has not ",
      to_string(capability));
  capability_in_use().store(capability, std::memory_order_relaxed);
}

}  // namespace detail
}  // namespace stepsize
