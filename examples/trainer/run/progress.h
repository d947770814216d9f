#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>

#include "examples/trainer/loop/results.h"

namespace stepsize::trainer {
/// How much of a run is done and how long the rest takes, from the time that
/// training images and test images have taken so far. Of a kind that has not
/// been seen yet, an image in a test is taken for a third of one in training,
/// which has a backward pass of twice a forward pass.
class WorkEstimate {
 public:
  void add_training(std::int64_t images, double seconds) {
    training_.add(images, seconds);
  }
  void add_test(std::int64_t images, double seconds) {
    test_.add(images, seconds);
  }

  /// Seconds that so many images take; 0 where nothing is known.
  double seconds(std::int64_t training, std::int64_t test) const {
    return seconds_an_image() * work(training, test);
  }

  /// The work in images of training, each test image being its share of one.
  double work(std::int64_t training, std::int64_t test) const {
    return static_cast<double>(training) +
           test_share() * static_cast<double>(test);
  }

  /// Training images a second; 0 where nothing is known.
  double training_rate() const {
    return training_.is_known() ? 1 / training_.an_image() : 0;
  }

 private:
  struct Sum {
    std::int64_t images = 0;
    double seconds = 0;

    void add(std::int64_t more_images, double more_seconds) {
      images += more_images;
      seconds += more_seconds;
    }
    bool is_known() const { return images > 0 && seconds > 0; }
    double an_image() const { return seconds / static_cast<double>(images); }
  };

  static constexpr double kUsualShare = 1.0 / 3;

  double test_share() const {
    return training_.is_known() && test_.is_known()
               ? test_.an_image() / training_.an_image()
               : kUsualShare;
  }
  double seconds_an_image() const {
    if (training_.is_known()) {
      return training_.an_image();
    }
    return test_.is_known() ? test_.an_image() / kUsualShare : 0;
  }

  Sum training_;
  Sum test_;
};

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

/// Those of the terminal at standard output; 80 where there is none.
std::size_t terminal_columns();

/// The line of a bar on a terminal of so many columns, the last one left free:
/// without the bar where there is no room for it, and cut where there is less.
std::string progress_line(
    const std::string& start,
    const std::string& bar,
    const std::string& end,
    std::size_t columns);

/// "0:07", "12:30" or "1:02:03".
std::string clock_text(double seconds);

}  // namespace stepsize::trainer
