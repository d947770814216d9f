#pragma once

#include <c10/util/Exception.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace stepsize::detail {

// Each of these throws c10::Error "KIND: PATH: ..." with the system's reason.

/// A file that was to be read is not there.
class MissingFile : public c10::Error {
 public:
  using c10::Error::Error;
};

/// Writes a file under another name beside its own, and gives it its own when
/// all of it has reached the disk.
class DurableFile {
 public:
  DurableFile(std::string kind, std::string path);
  /// Removes what was not committed.
  ~DurableFile();
  DurableFile(const DurableFile&) = delete;
  DurableFile& operator=(const DurableFile&) = delete;

  /// Appends. Does not throw: the first failure is kept for commit(), and what
  /// comes after it is dropped. So it can be called where an exception may not
  /// pass, as in LibTorch's archive writer.
  void write(const void* bytes, std::size_t size) noexcept;
  /// Writes over the first bytes; to be called after all write()s.
  void write_at_start(const void* bytes, std::size_t size) noexcept;
  /// Makes what was written reach the disk, under the other name as yet.
  void flush();
  /// flush() where that has not been done, and the name. Where the last of it
  /// fails, that the name reaches the disk, the file is there all the same.
  void commit();

 private:
  struct Handle;

  std::string kind_;
  std::string path_;
  std::string temporary_;
  std::unique_ptr<Handle> handle_;
};

/// A file to be read at any place.
class SourceFile {
 public:
  /// Throws MissingFile where it is not there.
  SourceFile(const std::string& kind, const std::string& path);
  ~SourceFile();
  SourceFile(const SourceFile&) = delete;
  SourceFile& operator=(const SourceFile&) = delete;

  uint64_t size() const;
  /// Reads up to `size` bytes; fewer where the file ends or cannot be read.
  /// Does not throw: it can be called where an exception may not pass, as in
  /// LibTorch's archive reader.
  std::size_t read(uint64_t at, void* bytes, std::size_t size) noexcept;
  /// Throws where the system has failed in a read().
  void check() const;

 private:
  struct Handle;
  std::string kind_;
  std::string path_;
  std::unique_ptr<Handle> handle_;
};

/// Gives a file another name, in the place of the file of that name. False
/// where the file system cannot.
bool link_durably(const std::string& path, const std::string& other);
/// Copies a file, in the place of the file of the other name.
void copy_durably(
    const std::string& kind, const std::string& path, const std::string& other);

/// Makes a folder, and those above it, where it is not there.
void make_folder(const std::string& kind, const std::string& path);

/// Makes the names in a folder reach the disk, as far as that can be.
void flush_names(const std::string& folder) noexcept;

/// Removes a file; it may be gone already.
void remove_file(const std::string& kind, const std::string& path);

/// Removes what DurableFiles of processes that were killed have left in a
/// folder. Keeps what somebody still writes; says nothing where it fails.
void remove_abandoned_files(const std::string& folder) noexcept;

}  // namespace stepsize::detail
