#include "csrc/distributed/groups.h"

namespace stepsize::detail {

bool has_nccl() { return false; }

std::shared_ptr<Reduction> nccl_reduction(
    const c10::intrusive_ptr<c10d::Store>& /*store*/,
    const ConnectOptions& /*options*/) {
  return nullptr;
}

}  // namespace stepsize::detail
