#pragma once

#include <filesystem>

namespace stepsize::trainer {

/// While one lives, no other process takes the folder of a run for its own.
class RunLock {
 public:
  /// Makes the folder where it is missing, and locks its file run.lock, which
  /// stays. Throws std::runtime_error naming the folder where another process
  /// has locked it or the file cannot be made. A file system that knows no
  /// locks locks nothing.
  explicit RunLock(const std::filesystem::path& folder);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int file_;
};

}  // namespace stepsize::trainer
