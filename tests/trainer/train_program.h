#pragma once

#include <gtest/gtest.h>

#include <cstdint>
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

/// Runs the program as a user does, on a small data set.
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

  /// Sends the program a signal when its steps.csv, in `out`, has so many rows.
  Outcome start_and_signal(
      const std::string& arguments,
      const std::filesystem::path& out,
      std::int64_t rows,
      int signal) const;

  /// A message for a person, before any training.
  static void expect_refusal(const Outcome& outcome, int status);

  /// What the shell does before it becomes the program.
  std::string shell_first_;
  TemporaryFolder folder_;
};

/// log.csv without its last column, images_per_second.
std::string timeless(const std::filesystem::path& path);

/// The cells of a column of a table.
std::vector<std::string> column(
    const std::filesystem::path& path, const std::string& name);

}  // namespace stepsize::trainer
