#include <netinet/in.h>
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
#include <vector>

#include "csrc/distributed/hello.h"
#include "csrc/distributed/master_address.h"
#include "csrc/distributed/meeting.h"

namespace stepsize::detail {
namespace {

using std::chrono::milliseconds;

// One that has come.
struct Guest {
  Channel channel;
  // Once it has said who it is.
  std::optional<std::int64_t> rank;
  // It has said what no rank says.
  bool is_stranger = false;
};

// The longest message of one that is not known; a hello is far shorter.
constexpr std::size_t kMostOfAStranger = std::size_t{1} << 16;

Descriptor listener_at(const SocketAddress& address) {
  Descriptor listener(socket(address.family(), SOCK_STREAM, 0));
  if (!listener) return {};
  const int on = 1;
  // A port whose last connections are only just closed is free.
  setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (address.family() == AF_INET6) {
    const int off = 0;
    setsockopt(listener.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
  }
  if (!prepare_descriptor(listener.get()) ||
      bind(listener.get(), address.get(), address.length) != 0 ||
      listen(listener.get(), SOMAXCONN) != 0) {
    const int error = errno;
    listener.close();
    errno = error;
  }
  return listener;
}

// The first of the addresses that can be listened at; else errno says why the
// last one cannot. A port that is in use at one is not taken at another.
Descriptor open_listener(const Meeting& meeting) {
  Descriptor listener;
  for (const SocketAddress& address :
       listening_addresses(meeting.master, meeting.deadline)) {
    listener = listener_at(address);
    if (listener || errno == EADDRINUSE) break;
  }
  return listener;
}

// Waits for the port where another program has it, and asks that program
// whether it is a rank 0 too: then both throw.
Descriptor listen_at_master(const Meeting& meeting) {
  milliseconds pause(20);
  for (;;) {
    Descriptor listener = open_listener(meeting);
    if (listener) return listener;
    const int error = errno;
    if (error != EADDRINUSE) {
      throw std::runtime_error(
          "rank 0 cannot listen at " + meeting.place() + ": " +
          std::strerror(error));
    }
    ask_who_listens(meeting);
    if (Clock::now() + pause >= meeting.deadline) {
      throw std::runtime_error(
          meeting.place() + " is in use by another program");
    }
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, milliseconds(500));
  }
}

class Reception {
 public:
  explicit Reception(const Meeting& meeting)
      : meeting_(meeting), listener_(listen_at_master(meeting)) {}

  std::vector<Channel> receive() {
    while (known_ + 1 < meeting_.world_size) {
      if (Clock::now() >= meeting_.deadline) refuse(who_is_missing());
      wait();
      hear_guests();
      let_in();
    }
    // Those who are left over are no ranks.
    std::vector<std::pair<std::int64_t, Channel>> ranks;
    for (Guest& guest : guests_) {
      if (guest.rank) ranks.emplace_back(*guest.rank, std::move(guest.channel));
    }
    std::sort(ranks.begin(), ranks.end(), [](const auto& a, const auto& b) {
      return a.first < b.first;
    });
    std::vector<Channel> channels;
    for (auto& [rank, channel] : ranks) {
      channel.set_most_bytes(kMostOfARank);
      channel.send({kGoOn});
      channels.push_back(std::move(channel));
    }
    return channels;
  }

 private:
  void wait() {
    std::vector<pollfd> polled;
    for (const Guest& guest : guests_) {
      const auto events = static_cast<short>(
          guest.channel.has_unsent() ? POLLIN | POLLOUT : POLLIN);
      polled.push_back({guest.channel.descriptor(), events, 0});
    }
    if (can_accept_) polled.push_back({listener_.get(), POLLIN, 0});
    // Where there is no descriptor left for one more, one may come free.
    const auto until =
        can_accept_ ? meeting_.deadline
                    : std::min<Deadline>(
                          meeting_.deadline, Clock::now() + milliseconds(50));
    poll(
        polled.data(),
        static_cast<nfds_t>(polled.size()),
        poll_milliseconds(until));
  }

  void hear_guests() {
    // Those who have gone first, so that one who comes again is welcome.
    std::vector<std::optional<Hello>> said(guests_.size());
    for (std::size_t i = 0; i < guests_.size(); ++i) {
      Guest& guest = guests_[i];
      guest.channel.flush();
      guest.channel.read();
      while (const auto words = guest.channel.next()) {
        // A rank says one thing, who it is, until all go on.
        const bool is_first = !guest.rank && !said[i];
        if (is_first) said[i] = read_hello(*words);
        if (is_first && said[i]) continue;
        guest.is_stranger = true;
        break;
      }
    }
    for (std::size_t i = guests_.size(); i-- > 0;) {
      if (!guests_[i].is_stranger &&
          guests_[i].channel.state() == Channel::State::kOpen) {
        continue;
      }
      if (guests_[i].rank) --known_;
      const auto at = static_cast<std::ptrdiff_t>(i);
      guests_.erase(guests_.begin() + at);
      said.erase(said.begin() + at);
    }
    for (std::size_t i = 0; i < said.size(); ++i) {
      if (said[i]) welcome(guests_[i], *said[i]);
    }
  }

  void welcome(Guest& guest, const Hello& hello) {
    const std::string refusal = fault_of(hello);
    guest.rank = hello.rank;
    if (!refusal.empty()) refuse(refusal);
    guest.channel.send({kWelcome});
    ++known_;
  }

  // What does not fit; empty: all does.
  std::string fault_of(const Hello& hello) const {
    const std::string name = "rank " + std::to_string(hello.rank);
    // First, as two that are rank 0 may be of two runs.
    const std::string twice = "two processes say they are " + name;
    if (hello.rank == 0) return twice;
    for (const auto& [fact, own] : facts_of(meeting_)) {
      const auto at = hello.facts.find(fact);
      const std::string theirs = at == hello.facts.end() ? "none" : at->second;
      if (theirs != own) {
        return name + " says " + fact + " " + theirs + ", rank 0 says " + own;
      }
    }
    const bool is_there =
        std::any_of(guests_.begin(), guests_.end(), [&](const Guest& guest) {
          return guest.rank == hello.rank;
        });
    if (is_there) return twice;
    return hello.rank < 0 || hello.rank >= meeting_.world_size
               ? "there is no " + name + " of " +
                     std::to_string(meeting_.world_size)
               : "";
  }

  // Tells all who are ranks, or say so, and throws.
  [[noreturn]] void refuse(const std::string& why) {
    const auto until = Clock::now() + milliseconds(500);
    let_in();
    for (Guest& guest : guests_) {
      guest.channel.read();
      const auto said = guest.channel.next();
      if (said && read_hello(*said)) guest.rank = read_hello(*said)->rank;
      if (guest.rank) guest.channel.send({kRefusal, why});
    }
    for (Guest& guest : guests_) guest.channel.finish_sending(until);
    throw std::runtime_error(why);
  }

  std::string who_is_missing() const {
    constexpr int kMostNames = 8;
    std::string names;
    int count = 0;
    for (std::int64_t rank = 1; rank < meeting_.world_size; ++rank) {
      const bool is_there =
          std::any_of(guests_.begin(), guests_.end(), [&](const Guest& guest) {
            return guest.rank == rank;
          });
      if (is_there) continue;
      if (++count <= kMostNames) {
        names += (count > 1 ? ", " : "") + std::to_string(rank);
      }
    }
    if (count > kMostNames) {
      names += " and " + std::to_string(count - kMostNames) + " more";
    }
    return (count == 1 ? "rank " : "ranks ") + names + " of " +
           std::to_string(meeting_.world_size) +
           (count == 1 ? " has" : " have") + " not come to " +
           meeting_.place() + " within " + meeting_.seconds + " s";
  }

  void let_in() {
    can_accept_ = true;
    for (;;) {
      Descriptor guest(accept(listener_.get(), nullptr, nullptr));
      if (!guest) {
        can_accept_ = errno != EMFILE && errno != ENFILE && errno != ENOBUFS &&
                      errno != ENOMEM;
        break;
      }
      guests_.push_back({Channel(std::move(guest)), std::nullopt});
      guests_.back().channel.set_most_bytes(kMostOfAStranger);
      send_strangers_away();
    }
  }

  // The longest here of those who have not said who they are: a rank does so at
  // once, and comes again.
  void send_strangers_away() {
    constexpr std::int64_t kMostUnknown = 64;
    const auto unknown = static_cast<std::int64_t>(guests_.size()) - known_;
    if (unknown <= kMostUnknown + meeting_.world_size) return;
    const auto oldest =
        std::find_if(guests_.begin(), guests_.end(), [](const Guest& guest) {
          return !guest.rank;
        });
    guests_.erase(oldest);
  }

  const Meeting& meeting_;
  Descriptor listener_;
  std::vector<Guest> guests_;
  // Guests that have said which rank they are.
  std::int64_t known_ = 0;
  bool can_accept_ = true;
};

}  // namespace

std::vector<Channel> receive_ranks(const Meeting& meeting) {
  return Reception(meeting).receive();
}

}  // namespace stepsize::detail
