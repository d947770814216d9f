#pragma once

#include <cstdint>
#include <stdexcept>

#include "examples/trainer/loop/results.h"

namespace stepsize::trainer {

/// A loss that is not a number, infinite, or above a thousand times that of a
/// guess (ln of the number of classes), from which no run comes back.
class DivergedError : public std::runtime_error {
 public:
  /// The loss of the batch that an update was to be made from. `lr_before` is
  /// the rate of the update before it, which did the damage; 0 if it is the
  /// first.
  DivergedError(const StepResult& result, double lr_before);
  /// The loss over the test images after an epoch.
  explicit DivergedError(const EpochResult& result);
  /// The first update with such a loss, or the last one before it was found in
  /// a test; `loss` is the loss found.
  const StepResult& result() const { return result_; }
  /// Updates after which the weights were those that gave that loss.
  std::int64_t lost_after() const { return lost_after_; }

 private:
  DivergedError(
      const StepResult& result,
      const char* when,
      double lr_before,
      std::int64_t lost_after);

  StepResult result_;
  std::int64_t lost_after_;
};

/// Whether a loss over so many classes is such a one.
bool is_hopeless(double loss, std::int64_t classes);

}  // namespace stepsize::trainer
