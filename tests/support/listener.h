#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace stepsize::test {

/// A program of another kind at a port of this machine: what it does with one
/// that comes is the test's. Connections stay open until the end, or until
/// `talk` closes them (and returns false).
class Listener {
 public:
  using Talk = std::function<bool(int connection)>;

  explicit Listener(Talk talk) : talk_(std::move(talk)) {
    own_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    auto* name = reinterpret_cast<sockaddr*>(&address);
    if (bind(own_, name, length) != 0 || listen(own_, 16) != 0 ||
        getsockname(own_, name, &length) != 0) {
      throw std::runtime_error("the test cannot listen");
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~Listener() {
    ends_ = true;
    thread_.join();
    for (const int connection : open_) close(connection);
    close(own_);
  }
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  std::string place() const { return "127.0.0.1:" + std::to_string(port_); }
  int visitors() const { return visitors_; }

 private:
  void serve() {
    while (!ends_) {
      pollfd one{own_, POLLIN, 0};
      constexpr int kMilliseconds = 20;
      if (poll(&one, 1, kMilliseconds) <= 0) continue;
      const int connection = accept(own_, nullptr, nullptr);
      if (connection < 0) continue;
      ++visitors_;
      if (talk_(connection)) open_.push_back(connection);
    }
  }

  Talk talk_;
  int own_ = -1;
  int port_ = 0;
  std::atomic<bool> ends_{false};
  std::atomic<int> visitors_{0};
  std::vector<int> open_;
  std::thread thread_;
};

/// A connection of a stranger to 127.0.0.1; waits until somebody listens there.
class Visitor {
 public:
  explicit Visitor(const std::string& master) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(
        std::stoi(master.substr(master.rfind(':') + 1))));
    for (int i = 0; i < 10000; ++i) {
      own_ = socket(AF_INET, SOCK_STREAM, 0);
      if (connect(
              own_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) ==
          0) {
        return;
      }
      close(own_);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    throw std::runtime_error("nobody listens at " + master);
  }
  ~Visitor() {
    if (own_ >= 0) close(own_);
  }
  Visitor(const Visitor&) = delete;
  Visitor& operator=(const Visitor&) = delete;

  /// The connection, which is the caller's from then on.
  int release() { return std::exchange(own_, -1); }
  void say(const std::string& text) const {
    if (send(own_, text.data(), text.size(), MSG_NOSIGNAL) < 0) return;
  }
  /// What the other side says until it closes.
  std::string hear_all() const {
    std::string text;
    char letter = 0;
    while (recv(own_, &letter, 1, 0) == 1) text += letter;
    return text;
  }

 private:
  int own_ = -1;
};

}  // namespace stepsize::test
