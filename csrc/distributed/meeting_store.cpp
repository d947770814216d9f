#include "csrc/distributed/meeting_store.h"

#include <algorithm>
#include <stdexcept>
#include <thread>
#include <utility>

namespace stepsize::detail {
namespace {

using std::chrono::milliseconds;

std::string text_of(const std::vector<uint8_t>& bytes) {
  return {bytes.begin(), bytes.end()};
}

std::vector<uint8_t> bytes_of(const std::string& text) {
  return {text.begin(), text.end()};
}

}  // namespace

MeetingStore::MeetingStore(
    const Meeting& meeting,
    std::vector<Channel> channels,
    Deadline deadline,
    milliseconds timeout)
    : StoreWithClone(timeout), deadline_(deadline) {
  if (meeting.rank == 0) {
    server_ = std::make_unique<KeyServer>(std::move(channels));
  } else {
    master_ = std::move(channels.at(0));
  }
}

Words MeetingStore::ask(const Words& question) {
  Words answer = server_ ? server_->answer(question) : ask_master(question);
  if (answer.front() == kFailed) {
    throw std::runtime_error(answer.size() > 1 ? answer[1] : kFailed);
  }
  answer.resize(std::max<std::size_t>(answer.size(), 2));
  return answer;
}

Words MeetingStore::ask_master(const Words& question) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!master_) throw std::runtime_error("rank 0 cannot be asked any more");
  master_->send(question);
  if (auto answer = master_->wait_for_message(last_moment(timeout_))) {
    return *answer;
  }
  // An answer that comes later would be taken for another one.
  const bool gone = master_->state() != Channel::State::kOpen;
  master_.reset();
  throw std::runtime_error(gone ? "rank 0 has left" : "rank 0 does not answer");
}

Deadline MeetingStore::last_moment(const milliseconds& timeout) const {
  const Deadline own =
      Clock::now() + (timeout > kNoTimeout ? timeout : timeout_);
  const std::lock_guard<std::mutex> lock(deadline_mutex_);
  return deadline_ ? std::min(own, *deadline_) : own;
}

void MeetingStore::set(
    const std::string& key, const std::vector<uint8_t>& value) {
  ask({kSet, key, text_of(value)});
}

std::vector<uint8_t> MeetingStore::compareSet(
    const std::string& key,
    const std::vector<uint8_t>& expected,
    const std::vector<uint8_t>& desired) {
  return bytes_of(
      ask({kCompareSet, key, text_of(expected), text_of(desired)})[1]);
}

std::vector<uint8_t> MeetingStore::get(const std::string& key) {
  wait({key});
  return bytes_of(ask({kGet, key})[1]);
}

int64_t MeetingStore::add(const std::string& key, int64_t value) {
  return std::stoll(ask({kAdd, key, std::to_string(value)})[1]);
}

bool MeetingStore::deleteKey(const std::string& key) {
  return ask({kDelete, key})[0] == kYes;
}

bool MeetingStore::check(const std::vector<std::string>& keys) {
  Words question{kHas};
  question.insert(question.end(), keys.begin(), keys.end());
  return ask(question)[0] == kYes;
}

int64_t MeetingStore::getNumKeys() { return std::stoll(ask({kCount})[1]); }

void MeetingStore::wait(const std::vector<std::string>& keys) {
  wait(keys, timeout_);
}

void MeetingStore::wait(
    const std::vector<std::string>& keys, const milliseconds& timeout) {
  Words question{kHas};
  question.insert(question.end(), keys.begin(), keys.end());
  wait_for_yes(question, last_moment(timeout));
}

void MeetingStore::wait_for_yes(const Words& question, Deadline until) {
  milliseconds pause(1);
  while (ask(question)[0] != kYes) {
    if (Clock::now() >= until) {
      throw std::runtime_error("another rank does not get through");
    }
    std::this_thread::sleep_for(pause);
    pause = std::min(2 * pause, milliseconds(20));
  }
}

c10::intrusive_ptr<c10d::Store> MeetingStore::clone() {
  return c10::intrusive_ptr<c10d::Store>::reclaim_copy(this);
}

void MeetingStore::finish() {
  const Deadline until = last_moment(kNoTimeout);
  if (server_) {
    server_->wait_until_ready(until);
  } else {
    wait_for_yes({kReady}, until);
  }
  const std::lock_guard<std::mutex> lock(deadline_mutex_);
  deadline_.reset();
}

void MeetingStore::fail(const std::string& why) noexcept {
  try {
    server_ ? server_->fail(why) : void(ask({kFailed, why}));
  } catch (const std::exception&) {
    // They have gone, or know.
  }
}

}  // namespace stepsize::detail
