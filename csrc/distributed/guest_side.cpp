#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "csrc/distributed/hello.h"
#include "csrc/distributed/master_address.h"
#include "csrc/distributed/meeting.h"

namespace stepsize::detail {
namespace {

using std::chrono::milliseconds;

constexpr char kNoRun[] = "what listens there is no stepsize run";

// A port of this machine that nobody listens at may be given to the very socket
// that asks for it, which then is connected to itself.
bool is_own_end(int descriptor) {
  SocketAddress here;
  SocketAddress there;
  here.length = there.length = sizeof(sockaddr_storage);
  auto* own = reinterpret_cast<sockaddr*>(&here.bytes);
  auto* other = reinterpret_cast<sockaddr*>(&there.bytes);
  return getsockname(descriptor, own, &here.length) == 0 &&
         getpeername(descriptor, other, &there.length) == 0 &&
         here.length == there.length &&
         std::memcmp(&here.bytes, &there.bytes, here.length) == 0;
}

// Nothing where the connection is not made; `why` then says what is wrong.
Descriptor connected_to(
    const SocketAddress& address, Deadline deadline, std::string& why) {
  Descriptor own(socket(address.family(), SOCK_STREAM, 0));
  int error = 0;
  if (!own || !prepare_descriptor(own.get())) {
    error = errno;
  } else if (::connect(own.get(), address.get(), address.length) != 0) {
    error = errno;
    if (error == EINPROGRESS || error == EINTR) {
      pollfd one{own.get(), POLLOUT, 0};
      while (poll(&one, 1, poll_milliseconds(deadline)) <= 0 &&
             Clock::now() < deadline) {
      }
      socklen_t length = sizeof(error);
      if (one.revents == 0) {
        error = ETIMEDOUT;
      } else {
        getsockopt(own.get(), SOL_SOCKET, SO_ERROR, &error, &length);
      }
    }
  }
  if (error == 0 && is_own_end(own.get())) error = ECONNREFUSED;
  if (error != 0) {
    why = std::string("nobody listens there (") + std::strerror(error) + ")";
    own.close();
  }
  return own;
}

// A connection to the first of the master's addresses that takes one.
std::optional<Channel> channel_to_master(
    const Meeting& meeting, std::string& why) {
  const auto addresses = addresses_of(meeting.master, meeting.deadline, why);
  for (const SocketAddress& address : addresses) {
    // One that does not even refuse must not take the time of the others.
    const auto until = std::min<Deadline>(
        meeting.deadline, Clock::now() + std::chrono::seconds(5));
    Descriptor connected = connected_to(address, until, why);
    if (connected) return Channel(std::move(connected));
  }
  return std::nullopt;
}

std::string refusal_in(const Words& words) {
  return words.size() > 1 ? words[1] : "rank 0 has refused this rank";
}

}  // namespace

Channel go_to_master(const Meeting& meeting) {
  std::string why;
  milliseconds pause(10);
  do {
    auto channel = channel_to_master(meeting, why);
    if (channel) {
      channel->send(hello_of(meeting));
      auto words = channel->wait_for_message(meeting.deadline);
      const bool welcome = words && words->front() == kWelcome;
      if (welcome) {
        words = channel->wait_for_message(meeting.deadline);
        if (words && words->front() == kGoOn) return std::move(*channel);
      }
      if (words && words->front() == kRefusal) {
        throw std::runtime_error(refusal_in(*words));
      }
      // A rank 0 says nothing else; one that repeats what it hears does.
      if (words) throw std::runtime_error(meeting.place() + ": " + kNoRun);
      switch (channel->state()) {
        case Channel::State::kStranger:
          throw std::runtime_error(meeting.place() + ": " + kNoRun);
        case Channel::State::kClosed:
          why = welcome ? "rank 0 was there and has gone"
                        : std::string(kNoRun) +
                              ": it closes the connection without an answer";
          break;
        case Channel::State::kOpen:
          why = welcome ? "rank 0 is there, and waits for others"
                        : std::string(kNoRun) + ": it does not answer";
          break;
      }
    }
    const auto wake =
        std::min<Deadline>(meeting.deadline, Clock::now() + pause);
    std::this_thread::sleep_until(wake);
    pause = std::min(2 * pause, milliseconds(250));
  } while (Clock::now() < meeting.deadline);
  throw std::runtime_error(
      "rank " + std::to_string(meeting.rank) + " of " +
      std::to_string(meeting.world_size) + " has not met the others at " +
      meeting.place() + " within " + meeting.seconds + " s: " + why);
}

void ask_who_listens(const Meeting& meeting) {
  Meeting asking = meeting;
  // A rank 0 answers at once.
  asking.deadline = std::min<Deadline>(
      meeting.deadline, Clock::now() + std::chrono::seconds(1));
  std::string why;
  auto channel = channel_to_master(asking, why);
  if (!channel) return;
  channel->send(hello_of(asking));
  const auto words = channel->wait_for_message(asking.deadline);
  if (words && words->front() == kRefusal) {
    throw std::runtime_error(refusal_in(*words));
  }
  if (words ? words->front() != kWelcome
            : channel->state() == Channel::State::kStranger) {
    throw std::runtime_error(meeting.place() + " is in use: " + kNoRun);
  }
}

}  // namespace stepsize::detail
