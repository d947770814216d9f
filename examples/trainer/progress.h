#pragma once

#include <chrono>
#include <cstdint>
#include <ostream>
#include <string>

#include "results.h"

namespace stepsize::trainer {

/// Tells a person how a run is going: a row an epoch, and on a terminal a bar
/// below with the training rate and the time that is left.
class Progress {
 public:
  /// `steps` updates are to come, of `images` images in all, in `epochs`
  /// epochs, `images_done` of which an earlier part of the run has had. Without
  /// `bar` nothing but whole rows is written.
  Progress(
      std::ostream& out,
      bool bar,
      std::int64_t epochs,
      std::int64_t steps,
      std::int64_t images,
      std::int64_t images_done = 0);

  void add(const StepResult& result);
  void add(const EpochResult& result);
  /// Takes the bar away, so that what is printed next stands alone.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;

  std::ostream& out_;
  bool bar_;
  std::int64_t epochs_;
  std::int64_t steps_;
  std::int64_t images_;
  std::int64_t images_before_;
  std::int64_t images_done_;
  Clock::time_point start_;
  Clock::time_point drawn_;
};

/// "0:07", "12:30" or "1:02:03".
std::string clock_text(double seconds);

}  // namespace stepsize::trainer
