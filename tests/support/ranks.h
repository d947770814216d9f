#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stepsize/distributed/connect.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace stepsize::test {

/// "127.0.0.1:PORT" with a port that was free a moment ago.
inline std::string free_master() {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* name = reinterpret_cast<sockaddr*>(&address);
  const bool bound = bind(listener, name, length) == 0 &&
                     getsockname(listener, name, &length) == 0;
  close(listener);
  if (!bound) throw std::runtime_error("there is no free port");
  return "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
}

/// What one rank of a test does.
using RankBody = std::function<void(const std::shared_ptr<Reduction>&)>;

/// Runs the body on so many ranks, each a thread with a Gloo group of its own.
/// Throws what the first rank threw.
inline void run_ranks(
    int64_t world_size, const RankBody& body, double timeout_seconds = 20) {
  const std::string master = free_master();
  std::vector<std::exception_ptr> failures(
      static_cast<std::size_t>(world_size));
  std::vector<std::thread> threads;
  for (int64_t rank = 0; rank < world_size; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        body(connect(ConnectOptions(master)
                         .rank(rank)
                         .world_size(world_size)
                         .timeout_seconds(timeout_seconds)));
      } catch (...) {
        failures[static_cast<std::size_t>(rank)] = std::current_exception();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

/// What the body gives on each rank.
template <typename Value>
std::vector<Value> on_ranks(
    int64_t world_size,
    const std::function<Value(const std::shared_ptr<Reduction>&)>& body) {
  std::vector<Value> values(static_cast<std::size_t>(world_size));
  run_ranks(world_size, [&](const std::shared_ptr<Reduction>& ranks) {
    values[static_cast<std::size_t>(ranks->rank())] = body(ranks);
  });
  return values;
}

}  // namespace stepsize::test
