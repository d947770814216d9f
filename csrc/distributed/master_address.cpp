#include "csrc/distributed/master_address.h"

#include <netdb.h>
#include <netinet/in.h>

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

namespace stepsize::detail {
namespace {

struct Lookup {
  std::vector<SocketAddress> addresses;
  int failed = 0;
};

Lookup look_up(const std::string& host, int port, int flags) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  Lookup result;
  result.failed =
      getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (result.failed != 0) return result;
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(
      found, freeaddrinfo);
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    SocketAddress& address = result.addresses.emplace_back();
    std::memcpy(&address.bytes, at->ai_addr, at->ai_addrlen);
    address.length = at->ai_addrlen;
  }
  return result;
}

// What a thread that asks for a name leaves, which may be after its asker has
// gone.
struct Answer {
  std::mutex mutex;
  std::condition_variable came;
  bool is_there = false;
  Lookup lookup;
};

SocketAddress any_address(int family, int port) {
  SocketAddress address;
  if (family == AF_INET6) {
    sockaddr_in6 any{};
    any.sin6_family = AF_INET6;
    any.sin6_addr = in6addr_any;
    any.sin6_port = htons(static_cast<std::uint16_t>(port));
    std::memcpy(&address.bytes, &any, sizeof(any));
    address.length = sizeof(any);
  } else {
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_ANY);
    any.sin_port = htons(static_cast<std::uint16_t>(port));
    std::memcpy(&address.bytes, &any, sizeof(any));
    address.length = sizeof(any);
  }
  return address;
}

bool is_loopback(const SocketAddress& address) {
  if (address.family() == AF_INET) {
    sockaddr_in four{};
    std::memcpy(&four, &address.bytes, sizeof(four));
    constexpr unsigned kShift = 24;
    return ntohl(four.sin_addr.s_addr) >> kShift == IN_LOOPBACKNET;
  }
  sockaddr_in6 six{};
  std::memcpy(&six, &address.bytes, sizeof(six));
  return address.family() == AF_INET6 &&
         IN6_IS_ADDR_LOOPBACK(&six.sin6_addr) != 0;
}

}  // namespace

std::vector<SocketAddress> addresses_of(
    const Master& master, Deadline deadline, std::string& why) {
  Lookup numeric = look_up(master.host, master.port, AI_NUMERICHOST);
  if (numeric.failed == 0) return numeric.addresses;
  // A name server that does not answer may keep the system busy for longer than
  // there is time.
  const auto answer = std::make_shared<Answer>();
  std::thread([answer, host = master.host, port = master.port] {
    Lookup lookup = look_up(host, port, 0);
    const std::lock_guard<std::mutex> lock(answer->mutex);
    answer->lookup = std::move(lookup);
    answer->is_there = true;
    answer->came.notify_all();
  }).detach();
  std::unique_lock<std::mutex> lock(answer->mutex);
  if (!answer->came.wait_until(
          lock, deadline, [&] { return answer->is_there; })) {
    why = "nobody has said which address '" + master.host + "' has";
    return {};
  }
  if (answer->lookup.failed != 0) {
    why = "there is no address of '" + master.host +
          "': " + gai_strerror(answer->lookup.failed);
  }
  return answer->lookup.addresses;
}

std::vector<SocketAddress> listening_addresses(
    const Master& master, Deadline deadline) {
  const Lookup numeric = look_up(master.host, master.port, AI_NUMERICHOST);
  if (numeric.failed == 0 && is_loopback(numeric.addresses.front())) {
    return {numeric.addresses.front()};
  }
  if (master.host == "localhost") {
    // The others are on this machine, and go to each of these in turn.
    std::string why;
    auto local = addresses_of(master, deadline, why);
    local.erase(
        std::remove_if(
            local.begin(),
            local.end(),
            [](const SocketAddress& address) { return !is_loopback(address); }),
        local.end());
    if (!local.empty()) return local;
    return look_up("127.0.0.1", master.port, AI_NUMERICHOST).addresses;
  }
  // That of IPv6 takes those who come by IPv4 too.
  return {
      any_address(AF_INET6, master.port), any_address(AF_INET, master.port)};
}

}  // namespace stepsize::detail
