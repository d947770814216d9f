#include <c10/util/Exception.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <vector>

#include "csrc/distributed/groups.h"
#include "csrc/distributed/master_address.h"

namespace stepsize::detail {
namespace {

class Socket {
 public:
  explicit Socket(const SocketAddress& to)
      : descriptor_(socket(to.family(), SOCK_DGRAM, 0)) {}
  ~Socket() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int operator()() const { return descriptor_; }

 private:
  int descriptor_;
};

// Connecting a datagram socket sends nothing, but chooses the own address.
std::string own_address(const SocketAddress& to) {
  const Socket own(to);
  if (own() < 0 || ::connect(own(), to.get(), to.length) != 0) return "";
  sockaddr_storage name{};
  socklen_t length = sizeof(name);
  auto* bytes = reinterpret_cast<sockaddr*>(&name);
  if (getsockname(own(), bytes, &length) != 0) return "";
  std::array<char, NI_MAXHOST> text{};
  const int failed = getnameinfo(
      bytes, length, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST);
  return failed != 0 ? "" : text.data();
}

bool is_loopback(const std::string& address) {
  return address.rfind("127.", 0) == 0 || address == "::1";
}

// By number, or by the name that always means this machine.
bool asks_for_loopback(const std::string& host) {
  return is_loopback(host) || host == "localhost";
}

// Towards the first of the addresses that there is a way to; empty: none.
std::string first_address(const std::vector<SocketAddress>& hosts) {
  for (const SocketAddress& to : hosts) {
    const std::string address = own_address(to);
    if (!address.empty()) return address;
  }
  return "";
}

}  // namespace

std::string address_towards(const Master& master, Deadline deadline) {
  const std::string& host = master.host;
  std::string why;
  const auto hosts = addresses_of(master, deadline, why);
  TORCH_CHECK(!hosts.empty(), kConnect, ": ", why);
  std::string address = first_address(hosts);
  TORCH_CHECK(!address.empty(), kConnect, ": there is no way to '", host, "'");
  if (!is_loopback(address) || asks_for_loopback(host)) return address;
  // Many systems take their own name for 127.0.1.1, where no other machine can
  // reach them. The way out of here has a better one; these addresses are
  // reserved for examples (RFC 5737, RFC 3849), and nothing is sent to them.
  for (const char* elsewhere : {"192.0.2.1", "2001:db8::1"}) {
    address =
        first_address(addresses_of({elsewhere, master.port}, deadline, why));
    if (!address.empty() && !is_loopback(address)) break;
  }
  TORCH_CHECK(
      !address.empty() && !is_loopback(address),
      kConnect,
      ": '",
      host,
      "' is a loopback address here, which other machines cannot reach: set "
      "ConnectOptions::address, or for ranks on one machine take 127.0.0.1 as "
      "the master");
  return address;
}

}  // namespace stepsize::detail
