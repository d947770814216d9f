#pragma once

#include <c10/util/intrusive_ptr.h>
#include <stepsize/distributed/connect.h>

#include <memory>
#include <string>

#include "csrc/distributed/channel.h"

namespace c10d {
class Store;
}  // namespace c10d

namespace stepsize::detail {

constexpr char kConnect[] = "connect";

/// HOST and PORT of the options.
struct Master {
  std::string host;
  int port = 0;
};

/// Throws c10::Error where an option is out of range.
Master checked_master(const ConnectOptions& options);

/// The address by which this machine reaches the master, in numbers. Throws
/// c10::Error where there is none, or the name is not found in time.
std::string address_towards(const Master& master, Deadline deadline);

/// Reductions over groups that meet in the store.
std::shared_ptr<Reduction> gloo_reduction(
    const c10::intrusive_ptr<c10d::Store>& store,
    const ConnectOptions& options,
    Deadline deadline);
/// Whether stepsize was built with NCCL; null where it was not.
bool has_nccl();
std::shared_ptr<Reduction> nccl_reduction(
    const c10::intrusive_ptr<c10d::Store>& store,
    const ConnectOptions& options);

}  // namespace stepsize::detail
