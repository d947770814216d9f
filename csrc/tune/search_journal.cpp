#include "csrc/tune/search_journal.h"

#include <c10/util/Exception.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "csrc/text/number.h"

namespace stepsize::detail {
namespace {

// Bytes of the file, far beyond its end, that stand for the turn and for
// trials.
constexpr int64_t kTurnByte = int64_t{1} << 40;
constexpr int64_t kTrialBytes = kTurnByte + 1;

// A lock of the open file is no other search's of this process; one of the
// process ends as any descriptor of the file is closed.
#ifdef F_OFD_SETLK
constexpr int kSetLock = F_OFD_SETLK;
constexpr int kSetLockWaiting = F_OFD_SETLKW;
#else
constexpr int kSetLock = F_SETLK;
constexpr int kSetLockWaiting = F_SETLKW;
#endif

struct flock region(short type, int64_t first) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = first;
  lock.l_len = 1;
  return lock;
}

std::string numbers_text(const std::vector<double>& numbers) {
  std::string text = "(";
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    text += (i == 0 ? "" : ", ") + number_text(numbers[i]);
  }
  return text + ")";
}

std::string difference_of(
    const SearchRecord& saved, const SearchRecord& present) {
  const auto say =
      [](const char* name, const std::string& there, const std::string& here) {
        return std::string(name) + " is " + there + " in the file, " + here +
               " here";
      };
  if (saved.space != present.space) {
    return say("space", "'" + saved.space + "'", "'" + present.space + "'");
  }
  if (saved.context != present.context) {
    return say(
        "context (steps an epoch, steps of the run)",
        numbers_text(saved.context),
        numbers_text(present.context));
  }
  if (saved.label != present.label) {
    return say("label", "'" + saved.label + "'", "'" + present.label + "'");
  }
  if (saved.seed != present.seed) {
    return say(
        "seed", std::to_string(saved.seed), std::to_string(present.seed));
  }
  if (saved.repeats != present.repeats) {
    return say(
        "repeats",
        std::to_string(saved.repeats),
        std::to_string(present.repeats));
  }
  return "";
}

}  // namespace

SearchJournal::SearchJournal(std::string path, const SearchRecord& search)
    : path_(std::move(path)) {
  const std::string head = search.to_line() + "\n";
  file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (file_ < 0) fail("open");
  try {
    const Turn turn(*this);
    begin(search, head);
  } catch (...) {
    ::close(file_);
    throw;
  }
}

SearchJournal::~SearchJournal() { ::close(file_); }

void SearchJournal::begin(const SearchRecord& search, const std::string& head) {
  const std::string text = read_from(0);
  const std::size_t line_end = text.find('\n');
  if (line_end == std::string::npos) {
    // Nothing, or as much as a process that was killed has written: anything
    // else is another's file.
    TORCH_CHECK(
        head.compare(0, text.size(), text) == 0,
        "LRSearch: ",
        path_,
        " is no journal of a search");
    if (!text.empty() && ::ftruncate(file_, 0) != 0) fail("write");
    write(head);
    return;
  }
  const auto saved = SearchRecord::parse(text.substr(0, line_end));
  TORCH_CHECK(
      saved && saved->kind == SearchRecord::Kind::kSearch,
      "LRSearch: ",
      path_,
      " is no journal of a search");
  const std::string difference = difference_of(*saved, search);
  TORCH_CHECK(
      difference.empty(),
      "LRSearch: ",
      path_,
      " is the journal of another search: ",
      difference);
  end_ = static_cast<int64_t>(line_end) + 1;
}

std::vector<SearchRecord> SearchJournal::read() {
  const std::string text = read_from(end_);
  std::vector<SearchRecord> records;
  std::size_t start = 0;
  for (std::size_t line_end = text.find('\n'); line_end != std::string::npos;
       line_end = text.find('\n', start)) {
    auto record = SearchRecord::parse(text.substr(start, line_end - start));
    if (record) {
      records.push_back(std::move(*record));
    } else {
      ++broken_lines_;
    }
    start = line_end + 1;
  }
  end_ += static_cast<int64_t>(start);
  // Who wrote the rest is gone: it would have had the turn.
  if (start < text.size() && ::ftruncate(file_, end_) != 0) fail("write");
  return records;
}

void SearchJournal::add(const SearchRecord& record) {
  write(record.to_line() + "\n");
}

bool SearchJournal::claim(int64_t trial) {
  return lock(kTrialBytes + trial, /*waits=*/false);
}

void SearchJournal::release(int64_t trial) { unlock(kTrialBytes + trial); }

std::pair<std::uint64_t, std::uint64_t> SearchJournal::file() const {
  struct stat status = {};
  if (::fstat(file_, &status) != 0) fail("read");
  return {status.st_dev, status.st_ino};
}

void SearchJournal::fail(const std::string& what) const {
  throw std::runtime_error(
      "LRSearch: cannot " + what + " " + path_ + ": " + std::strerror(errno));
}

bool SearchJournal::lock(int64_t first, bool waits) {
  struct flock wanted = region(F_WRLCK, first);
  while (::fcntl(file_, waits ? kSetLockWaiting : kSetLock, &wanted) != 0) {
    if (errno == EINTR) continue;
    if (!waits && (errno == EAGAIN || errno == EACCES)) return false;
    fail("lock");
  }
  return true;
}

void SearchJournal::unlock(int64_t first) {
  struct flock wanted = region(F_UNLCK, first);
  ::fcntl(file_, kSetLock, &wanted);
}

std::string SearchJournal::read_from(int64_t offset) const {
  std::string text;
  std::vector<char> buffer(std::size_t{1} << 16);
  while (true) {
    const auto count = ::pread(
        file_,
        buffer.data(),
        buffer.size(),
        static_cast<off_t>(offset + static_cast<int64_t>(text.size())));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail("read");
    if (count == 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
}

void SearchJournal::write(const std::string& text) {
  std::size_t written = 0;
  while (written < text.size()) {
    const auto count = ::pwrite(
        file_,
        text.data() + written,
        text.size() - written,
        static_cast<off_t>(end_ + static_cast<int64_t>(written)));
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      const int reason = errno;
      // A later line must not stick to a part of this one.
      (void)!::ftruncate(file_, end_);
      errno = count < 0 ? reason : ENOSPC;
      fail("write");
    }
    written += static_cast<std::size_t>(count);
  }
  end_ += static_cast<int64_t>(text.size());
}

SearchJournal::Turn::Turn(SearchJournal& journal) : journal_(journal) {
  journal_.lock(kTurnByte, /*waits=*/true);
}

SearchJournal::Turn::~Turn() { journal_.unlock(kTurnByte); }

}  // namespace stepsize::detail
