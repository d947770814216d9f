#pragma once

#include <filesystem>
#include <string>

#include "examples/trainer/cli/options.h"

namespace stepsize::trainer {
/// Where runs have their folders that are not named, below the present one.
inline constexpr const char* kRuns = "runs";

/// The front of such a folder's name: "fashion-mnist-cnn-sgd".
std::string run_name(const TrainOptions& options);

/// runs/NAME-N.
std::filesystem::path run_folder(const std::string& name, std::int64_t number);

/// Makes the folder of a new run, whose number N, which is returned, is one
/// more than the largest that is there. Two programs that do so at once get two
/// folders. Throws std::runtime_error naming the folder where it cannot be
/// made.
std::int64_t make_new_run(const std::string& name);

/// Of the runs in runs/, the folder of the one that was saved last. Throws
/// std::runtime_error where none has a checkpoint.
std::filesystem::path last_run();

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
