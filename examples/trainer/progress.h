#pragma once

#include <chrono>
#include <cstdint>
#include <ostream>
#include <string>

#include "results.h"
#include "work_estimate.h"

namespace stepsize::trainer {

/// What a run is going to do, in all.
struct ProgressPlan {
  std::int64_t epochs = 0;
  std::int64_t steps = 0;
  /// Of training, each as often as it is trained on.
  std::int64_t images = 0;
  /// In the test after each epoch.
  std::int64_t test_images = 0;
  /// What an earlier part of the run has done.
  std::int64_t images_done = 0;
  std::int64_t tests_done = 0;
};

/// Tells a person how a run is going: a row an epoch, and on a terminal a bar
/// below with the training rate and the time that is left, of which tests are a
/// part.
class Progress {
 public:
  /// Without `bar` nothing but whole rows is written.
  Progress(std::ostream& out, bool bar, const ProgressPlan& plan);

  void add(const StepResult& result);
  /// So many images of the test after this epoch are done.
  void add_test(std::int64_t epoch, std::int64_t images);
  void add(const EpochResult& result);
  /// Takes the bar away, so that what is printed next stands alone.
  void clear();

 private:
  using Clock = std::chrono::steady_clock;

  double seconds_since_last();
  bool is_due();
  std::string cells();
  std::string time_left() const;
  void draw(const std::string& start, const std::string& end);

  std::ostream& out_;
  bool bar_;
  ProgressPlan plan_;
  std::int64_t images_done_;
  // Images of all tests so far, and of the one that is on.
  std::int64_t tested_;
  std::int64_t tested_in_epoch_ = 0;
  WorkEstimate estimate_;
  std::int64_t full_cells_ = 0;
  Clock::time_point last_;
  Clock::time_point drawn_;
};

/// "0:07", "12:30" or "1:02:03".
std::string clock_text(double seconds);

}  // namespace stepsize::trainer
