#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "csrc/tune/search_record.h"

namespace stepsize::detail {

/// The file that the processes of a search share: they add whole lines, one
/// process at a time, and each reads what the others have added. A last line
/// that is not whole, as a killed process leaves it, is cut off.
///
/// Locks are the system's (fcntl, of the open file where there are such) and
/// end with the process that holds them, however it ends; those of an open file
/// not before a child that it has forked, which has the file too, ends or calls
/// exec.
class SearchJournal {
 public:
  /// Opens the file, and begins it with the record of kind kSearch where it is
  /// new. Throws std::runtime_error, naming path and reason, where it cannot be
  /// read or written; c10::Error, and changes nothing, where it is no journal
  /// or one of another search.
  SearchJournal(std::string path, const SearchRecord& search);
  ~SearchJournal();
  SearchJournal(const SearchJournal&) = delete;
  SearchJournal& operator=(const SearchJournal&) = delete;

  /// The right to read and write, for as long as it lives.
  class Turn {
   public:
    explicit Turn(SearchJournal& journal);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    SearchJournal& journal_;
  };

  // In a turn only:

  /// The records that have come since the last call. Lines that are none are
  /// left out and counted.
  std::vector<SearchRecord> read();
  /// Adds one, which read() will not give.
  void add(const SearchRecord& record);

  /// Takes a trial for this process; false where a process that lives has it.
  bool claim(int64_t trial);
  void release(int64_t trial);

  int64_t broken_lines() const { return broken_lines_; }
  /// The file itself, whatever its path: its device, and its number there.
  std::pair<std::uint64_t, std::uint64_t> file() const;

 private:
  [[noreturn]] void fail(const std::string& what) const;
  bool lock(int64_t first, bool waits);
  void unlock(int64_t first);
  void begin(const SearchRecord& search, const std::string& head);
  std::string read_from(int64_t offset) const;
  void write(const std::string& text);

  std::string path_;
  int file_ = -1;
  int64_t end_ = 0;  // of what was read
  int64_t broken_lines_ = 0;
};

}  // namespace stepsize::detail
