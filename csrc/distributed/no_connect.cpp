#include <c10/util/Exception.h>
#include <stepsize/distributed/connect.h>

#include "csrc/distributed/groups.h"

namespace stepsize {

std::shared_ptr<Reduction> connect(const ConnectOptions& options) {
  detail::checked_master(options);
  TORCH_CHECK(
      false,
      detail::kConnect,
      ": this stepsize was built without Gloo: it wants a LibTorch with "
      "distributed support and Gloo's headers (Debian: libgloo-dev)");
}

}  // namespace stepsize
