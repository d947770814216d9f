#pragma once

#include <cstdint>

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

}  // namespace stepsize::trainer
