#include "csrc/distributed/channel.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <utility>

namespace stepsize::detail {
namespace {

// In front of every message; then its length in four bytes, the least first.
constexpr char kMark[] = "stepsize";
constexpr std::size_t kMarkSize = sizeof(kMark) - 1;
constexpr std::size_t kLengthSize = 4;
constexpr std::size_t kHeadSize = kMarkSize + kLengthSize;

void put_length(std::string& bytes, std::size_t length) {
  constexpr std::size_t kByte = 256;
  for (std::size_t i = 0; i < kLengthSize; ++i) {
    bytes += static_cast<char>(static_cast<unsigned char>(length % kByte));
    length /= kByte;
  }
}

std::size_t length_at(const std::string& bytes, std::size_t place) {
  constexpr unsigned kBits = 8;
  std::size_t length = 0;
  for (std::size_t i = kLengthSize; i-- > 0;) {
    length = (length << kBits) | static_cast<unsigned char>(bytes[place + i]);
  }
  return length;
}

// Nothing where the bytes are not words from end to end.
std::optional<Words> words_in(const std::string& bytes) {
  Words words;
  std::size_t place = 0;
  while (place < bytes.size()) {
    if (bytes.size() - place < kLengthSize) return std::nullopt;
    const std::size_t length = length_at(bytes, place);
    place += kLengthSize;
    if (bytes.size() - place < length) return std::nullopt;
    words.push_back(bytes.substr(place, length));
    place += length;
  }
  return words;
}

bool would_wait(int error) {
  return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

#ifdef MSG_NOSIGNAL
constexpr int kNoSignal = MSG_NOSIGNAL;
#else
constexpr int kNoSignal = 0;
#endif

// Until something has come or can be sent, as `events` says.
void wait_for(int descriptor, short events, Deadline deadline) {
  pollfd one{descriptor, events, 0};
  poll(&one, 1, poll_milliseconds(deadline));
}

}  // namespace

int poll_milliseconds(Deadline deadline) {
  constexpr std::int64_t kMost = 60000;
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now())
          .count();
  return static_cast<int>(
      std::clamp<std::int64_t>(static_cast<std::int64_t>(left), 0, kMost));
}

Descriptor::Descriptor(Descriptor&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)) {}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    close();
    descriptor_ = std::exchange(other.descriptor_, -1);
  }
  return *this;
}

void Descriptor::close() {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
}

bool prepare_descriptor(int descriptor) {
  const int flags = fcntl(descriptor, F_GETFL);
  return flags >= 0 && fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0 &&
         fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0;
}

Channel::Channel(Descriptor connected) : descriptor_(std::move(connected)) {
  if (!prepare_descriptor(descriptor())) state_ = State::kClosed;
#ifdef SO_NOSIGPIPE
  const int on = 1;
  setsockopt(descriptor(), SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof(on));
#endif
}

void Channel::send(const Words& words) {
  std::string body;
  for (const std::string& word : words) {
    put_length(body, word.size());
    body += word;
  }
  unsent_ += kMark;
  put_length(unsent_, body.size());
  unsent_ += body;
  flush();
}

bool Channel::flush() {
  while (!unsent_.empty()) {
    const auto sent =
        ::send(descriptor(), unsent_.data(), unsent_.size(), kNoSignal);
    if (sent < 0) {
      if (would_wait(errno)) return true;
      // What the other side has said before it went can still be read.
      unsent_.clear();
      return false;
    }
    unsent_.erase(0, static_cast<std::size_t>(sent));
  }
  return true;
}

Channel::State Channel::read() {
  std::array<char, 4096> bytes{};
  // One that speaks without end neither fills the memory nor keeps the others
  // waiting.
  while (state_ == State::kOpen &&
         received_.size() <= kHeadSize + most_bytes_) {
    const auto count = recv(descriptor(), bytes.data(), bytes.size(), 0);
    if (count < 0 && would_wait(errno)) break;
    if (count <= 0) {
      state_ = State::kClosed;
      break;
    }
    received_.append(bytes.data(), static_cast<std::size_t>(count));
    const std::size_t seen = std::min(received_.size(), kMarkSize);
    if (received_.compare(0, seen, kMark, seen) != 0 ||
        (received_.size() >= kHeadSize &&
         length_at(received_, kMarkSize) > most_bytes_)) {
      state_ = State::kStranger;
    }
  }
  return state_;
}

std::optional<Words> Channel::next() {
  if (state_ == State::kStranger || received_.size() < kHeadSize) {
    return std::nullopt;
  }
  const std::size_t length = length_at(received_, kMarkSize);
  if (received_.compare(0, kMarkSize, kMark) != 0 || length > most_bytes_) {
    state_ = State::kStranger;
    return std::nullopt;
  }
  if (received_.size() < kHeadSize + length) return std::nullopt;
  auto words = words_in(received_.substr(kHeadSize, length));
  received_.erase(0, kHeadSize + length);
  if (!words || words->empty()) {
    state_ = State::kStranger;
    return std::nullopt;
  }
  return words;
}

void Channel::finish_sending(Deadline deadline) {
  while (has_unsent() && flush() && has_unsent() && Clock::now() < deadline) {
    wait_for(descriptor(), POLLOUT, deadline);
  }
}

std::optional<Words> Channel::wait_for_message(Deadline deadline) {
  while (Clock::now() < deadline) {
    if (auto words = next()) return words;
    if (state_ != State::kOpen) break;
    const auto events =
        static_cast<short>(has_unsent() ? POLLIN | POLLOUT : POLLIN);
    wait_for(descriptor(), events, deadline);
    flush();
    read();
  }
  return std::nullopt;
}

}  // namespace stepsize::detail
