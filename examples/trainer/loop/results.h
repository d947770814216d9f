#pragma once

#include <cstdint>
#include <limits>
#include <optional>

namespace stepsize::trainer {

/// One update of the weights. Counts start at 1.
struct StepResult {
  std::int64_t epoch = 0;
  std::int64_t step = 0;  ///< updates so far, this one included
  double lr = 0;          ///< the rate it was taken with
  double loss = 0;        ///< mean over its batch, before the update
  /// Of the gradient of its batch, where the step began.
  double grad_norm = std::numeric_limits<double>::quiet_NaN();
  /// Largest eigenvalue of the Hessian, where the optimizer measures it.
  std::optional<double> sharpness = std::nullopt;
  /// Whether the optimizer took steps back first.
  bool rolled_back = false;
  std::int64_t batch = 0;  ///< images that it was made from
  /// Gradient noise scale so far, in images, where it is measured.
  std::optional<double> noise_scale = std::nullopt;
};

/// One epoch: what training saw of it, and the test after it.
struct EpochResult {
  std::int64_t epoch = 0;     ///< counts from 1
  std::int64_t step = 0;      ///< updates so far
  double lr = 0;              ///< the rate of the last of them
  double train_loss = 0;      ///< mean over the images as they were trained on
  double train_accuracy = 0;  ///< share in [0, 1], as they were trained on
  double test_loss = 0;
  double test_accuracy = 0;      ///< share in [0, 1]
  double images_per_second = 0;  ///< in training, the test left out
};

}  // namespace stepsize::trainer
