#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "sample_files.h"

namespace stepsize::trainer {

/// How a run of stepsize-train ended.
struct Outcome {
  /// Exit status; 128 and the number of the signal that ended it.
  int status = -1;
  std::string out;
  std::string err;
};

/// Runs the program on a small data set: as a user starts it, or, which saves
/// loading LibTorch each time, as ForkServer does.
class TrainProgramTest : public testing::Test {
 protected:
  void SetUp() override { write_bars(data(), 60, 40); }

  std::filesystem::path data() const { return folder_ / "data"; }
  std::filesystem::path out() const { return folder_ / "run"; }

  /// The arguments of a run on the small set that ends in a moment; `more`
  /// comes last.
  std::string arguments(const std::string& more) const;

  Outcome train(const std::string& more) const {
    return start(arguments(more));
  }
  Outcome start(const std::string& arguments) const;
  /// The program itself, after what `first` has the shell do.
  Outcome start_by_shell(
      const std::string& arguments, const std::string& first = "") const;

  /// Sends the program a signal when its steps.csv, in `out`, has so many rows.
  Outcome start_and_signal(
      const std::string& arguments,
      const std::filesystem::path& out,
      std::int64_t rows,
      int signal) const;

  /// A message for a person, before any training.
  static void expect_refusal(const Outcome& outcome, int status);

  /// A process of the program that runs; finish() waits for it.
  struct Running {
    pid_t process = 0;
    std::filesystem::path out;
    std::filesystem::path err;
    /// Of a shell, and not of the program forked.
    bool is_shell = false;
  };

  /// Its output goes to files of this name.
  Running begin(const std::string& arguments, const std::string& name) const;
  Running begin_shell(
      const std::string& command, const std::string& name) const;
  static Outcome finish(const Running& running);

  TemporaryFolder folder_;
  /// Where the program is started, if not here.
  std::filesystem::path working_folder_;
};

/// log.csv without its last column, images_per_second.
std::string timeless(const std::filesystem::path& path);

/// The cells of a column of a table.
std::vector<std::string> column(
    const std::filesystem::path& path, const std::string& name);

}  // namespace stepsize::trainer
