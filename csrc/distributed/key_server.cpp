#include "csrc/distributed/key_server.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace stepsize::detail {

KeyServer::KeyServer(std::vector<Channel> others)
    : ready_(others.size() + 1, false),
      told_(others.size() + 1, false),
      left_(others.size() + 1, false),
      others_(std::move(others)) {
  if (others_.empty()) return;
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0) {
    throw std::runtime_error("there is no pipe to be had");
  }
  wake_ = Descriptor(ends[0]);
  waker_ = Descriptor(ends[1]);
  prepare_descriptor(ends[0]);
  prepare_descriptor(ends[1]);
  thread_ = std::thread([this] { serve(); });
}

KeyServer::~KeyServer() {
  waker_.close();  // which the thread sees at the other end
  if (thread_.joinable()) thread_.join();
}

Words KeyServer::answer(const Words& question) { return answer(0, question); }

Words KeyServer::answer(std::size_t rank, const Words& question) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::string& what = question.front();
  const auto word = [&](std::size_t i) {
    return i < question.size() ? question[i] : std::string();
  };
  if (what == kFailed) {
    give_up("rank " + std::to_string(rank) + " failed: " + word(1));
    return {kYes};
  }
  if (!failure_.empty()) return {kFailed, failure_};
  if (what == kSet) {
    values_[word(1)] = word(2);
    return {kYes};
  }
  if (what == kGet) {
    return has(word(1)) ? Words{kYes, values_[word(1)]} : Words{kNo};
  }
  if (what == kAdd) {
    std::string& value = values_[word(1)];
    const long long before = value.empty() ? 0 : std::stoll(value);
    value = std::to_string(before + std::stoll(word(2)));
    return {kYes, value};
  }
  if (what == kCompareSet) {
    // What is not there is set where nothing is expected.
    const bool is_there = has(word(1));
    if (is_there ? values_[word(1)] == word(2) : word(2).empty()) {
      values_[word(1)] = word(3);
    }
    return {kYes, has(word(1)) ? values_[word(1)] : word(2)};
  }
  if (what == kHas) {
    const bool all = std::all_of(
        question.begin() + 1, question.end(), [this](const std::string& key) {
          return has(key);
        });
    return {all ? kYes : kNo};
  }
  if (what == kDelete) return {values_.erase(word(1)) > 0 ? kYes : kNo};
  if (what == kCount) return {kYes, std::to_string(values_.size())};
  if (what == kReady) {
    ready_[rank] = true;
    told_[rank] =
        std::find(ready_.begin(), ready_.end(), false) == ready_.end();
    changed_.notify_all();
    return {told_[rank] ? kYes : kNo};
  }
  return {kNo};
}

void KeyServer::hear(std::size_t rank) {
  Channel& channel = others_[rank - 1];
  channel.flush();
  channel.read();
  while (const auto question = channel.next()) {
    try {
      channel.send(answer(rank, *question));
    } catch (const std::exception&) {
      // A sum of what is no number.
      channel.send({kNo});
    }
  }
  if (channel.state() == Channel::State::kOpen) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  left_[rank] = true;
  if (!told_[rank]) give_up("rank " + std::to_string(rank) + " has left");
  changed_.notify_all();
}

void KeyServer::give_up(const std::string& why) {
  if (failure_.empty()) failure_ = why;
  changed_.notify_all();
}

void KeyServer::serve() {
  std::vector<std::size_t> ranks;
  for (std::size_t rank = 1; rank <= others_.size(); ++rank) {
    ranks.push_back(rank);
  }
  for (;;) {
    std::vector<pollfd> polled{{wake_.get(), POLLIN, 0}};
    for (const std::size_t rank : ranks) {
      const Channel& channel = others_[rank - 1];
      const auto events =
          static_cast<short>(channel.has_unsent() ? POLLIN | POLLOUT : POLLIN);
      polled.push_back({channel.descriptor(), events, 0});
    }
    if (poll(polled.data(), static_cast<nfds_t>(polled.size()), -1) < 0) {
      if (errno == EINTR) continue;
      const std::string why = std::strerror(errno);
      const std::lock_guard<std::mutex> lock(mutex_);
      give_up("rank 0 cannot hear the others: " + why);
      return;
    }
    if (polled[0].revents != 0) return;
    std::vector<std::size_t> here;
    for (std::size_t i = 0; i < ranks.size(); ++i) {
      if (polled[i + 1].revents != 0) hear(ranks[i]);
      if (others_[ranks[i] - 1].state() == Channel::State::kOpen) {
        here.push_back(ranks[i]);
      }
    }
    ranks = std::move(here);
  }
}

void KeyServer::wait_until_ready(Deadline deadline) {
  std::unique_lock<std::mutex> lock(mutex_);
  ready_[0] = true;
  const auto late = [this] {
    return std::find(told_.begin() + 1, told_.end(), false);
  };
  changed_.wait_until(lock, deadline, [&] {
    return !failure_.empty() || late() == told_.end();
  });
  if (!failure_.empty()) throw std::runtime_error(failure_);
  if (late() == told_.end()) return;
  // The one that the others wait for, if there is one.
  const auto first = std::find(ready_.begin(), ready_.end(), false);
  const auto rank =
      first != ready_.end() ? first - ready_.begin() : late() - told_.begin();
  throw std::runtime_error(
      "rank " + std::to_string(rank) + " does not get through to the others");
}

void KeyServer::fail(const std::string& why) {
  answer({kFailed, why});
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait_for(lock, std::chrono::milliseconds(500), [this] {
    return std::find(left_.begin() + 1, left_.end(), false) == left_.end();
  });
}

}  // namespace stepsize::detail
