#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace stepsize::detail {

using Clock = std::chrono::steady_clock;
using Deadline = Clock::time_point;

/// What poll() takes: the milliseconds until then, rounded up, 0 where it has
/// passed, and never more than a minute at once.
int poll_milliseconds(Deadline deadline);

/// A file descriptor with an owner.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int descriptor) : descriptor_(descriptor) {}
  ~Descriptor() { close(); }
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return descriptor_; }
  explicit operator bool() const { return descriptor_ >= 0; }
  void close();

 private:
  int descriptor_ = -1;
};

/// Makes a descriptor return at once where it would wait, and end with exec().
/// False where the system refuses.
bool prepare_descriptor(int descriptor);

/// A message of the ranks' meeting: some words, of any bytes.
using Words = std::vector<std::string>;

/// The longest message of a rank, in bytes: of addresses and names.
constexpr std::size_t kMostOfARank = std::size_t{1} << 20;

/// A connection that carries messages. Each begins with a mark, so that what
/// another program says is known by its first bytes. Never waits by itself, but
/// in exchange() and finish_sending().
class Channel {
 public:
  enum class State { kOpen, kClosed, kStranger };

  explicit Channel(Descriptor connected);

  int descriptor() const { return descriptor_.get(); }
  bool has_unsent() const { return !unsent_.empty(); }

  /// Puts a message in the queue, and sends what the system takes.
  void send(const Words& words);
  /// The longest message, in bytes, that is not a stranger's;
  /// kMostOfARank at first.
  void set_most_bytes(std::size_t bytes) { most_bytes_ = bytes; }
  /// Sends more of the queue. False where the connection has broken.
  bool flush();
  /// Reads what has come, while there is not a whole message of most length
  /// yet. Messages that came before the end are still there.
  State read();
  /// The next message, if it is there as a whole.
  std::optional<Words> next();

  /// Waits for the queue to be sent, or broken, or for the deadline.
  void finish_sending(Deadline deadline);
  /// Waits for the next message; none: the deadline has passed, even where one
  /// is there, or state() is no longer kOpen.
  std::optional<Words> wait_for_message(Deadline deadline);
  State state() const { return state_; }

 private:
  Descriptor descriptor_;
  std::string unsent_;
  std::string received_;
  State state_ = State::kOpen;
  std::size_t most_bytes_ = kMostOfARank;
};

}  // namespace stepsize::detail
