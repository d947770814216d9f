#pragma once

#include <sys/socket.h>

#include <optional>
#include <string>
#include <vector>

#include "csrc/distributed/channel.h"
#include "csrc/distributed/groups.h"

namespace stepsize::detail {

/// Where a socket can go to or listen.
struct SocketAddress {
  sockaddr_storage bytes{};
  socklen_t length = 0;

  const sockaddr* get() const {
    return reinterpret_cast<const sockaddr*>(&bytes);
  }
  int family() const { return bytes.ss_family; }
};

/// The addresses of a host; none where the system knows none, or the deadline
/// passes before it has answered. `why` says which.
std::vector<SocketAddress> addresses_of(
    const Master& master, Deadline deadline, std::string& why);

/// Where rank 0 listens: at the master's address where that is this machine's
/// alone (127.0.0.1, ::1, localhost), else at all that this machine has, as the
/// name that others know it by may be another one here. The first that can be
/// had is to be taken.
std::vector<SocketAddress> listening_addresses(
    const Master& master, Deadline deadline);

}  // namespace stepsize::detail
