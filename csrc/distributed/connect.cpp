#include <stepsize/distributed/connect.h>

#include <c10/util/Exception.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <chrono>
#include <cmath>
#include <cstdint>
#include <exception>

#include "csrc/core/check.h"
#include "csrc/distributed/failure.h"
#include "csrc/distributed/groups.h"

namespace stepsize {
namespace {

// LibTorch 2 takes libuv by default and throws where it was built without, as
// Debian's was.
template <typename Options>
auto leave_libuv_out(Options& options, int /*preferred*/)
    -> decltype(options.useLibUV, void()) {
  options.useLibUV = false;
}

template <typename Options>
void leave_libuv_out(Options& /*options*/, long /*otherwise*/) {}

}  // namespace

std::shared_ptr<Reduction> connect(const ConnectOptions& options) {
  const detail::Master master = detail::checked_master(options);
  try {
    c10d::TCPStoreOptions wanted;
    wanted.port = static_cast<std::uint16_t>(master.port);
    wanted.isServer = options.rank() == 0;
    wanted.numWorkers = static_cast<std::size_t>(options.world_size());
    // LibTorch 1.13 counts whole seconds here.
    wanted.timeout = std::chrono::seconds(
        static_cast<int64_t>(std::ceil(options.timeout_seconds())));
    leave_libuv_out(wanted, 0);
    const auto store = c10::make_intrusive<c10d::TCPStore>(master.host, wanted);
    std::shared_ptr<Reduction> reduction;
    if (options.device().is_cuda()) {
      reduction = detail::nccl_reduction(store, options);
    }
    return reduction ? reduction : detail::gloo_reduction(store, options);
  } catch (const std::exception&) {
    const std::string text = detail::text_of(std::current_exception());
    // Unlike TORCH_CHECK(false) this is known to every compiler not to return.
    C10_THROW_ERROR(
        Error,
        c10::str(
            detail::kConnect,
            ": rank ",
            options.rank(),
            " of ",
            options.world_size(),
            " has not met the others at ",
            options.master(),
            " within ",
            detail::number_text(options.timeout_seconds()),
            " s: ",
            text.substr(0, text.find('\n'))));
  }
}

}  // namespace stepsize
