#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "image_model.h"
#include "updater.h"

namespace stepsize::trainer {

/// An optimizer by its name, with the numbers that the trainer's user gives.
struct OptimizerSettings {
  /// sgd, adam, adamw, rmsprop, clipped-sgd, clipped-adamw, rollback-sgd or
  /// power-sgd.
  std::string name = "sgd";
  /// For power-sgd a factor of the rate that it measures.
  double lr = 0;
  /// beta1 for adam, adamw and clipped-adamw.
  double momentum = 0;
  double weight_decay = 0;
  /// Of clipped-sgd and clipped-adamw only: the longest gradient that is not
  /// clipped.
  std::optional<double> max_norm;
  /// Of power-sgd only: share of the largest stable rate.
  std::optional<double> safety;
  /// Images in a full micro-batch, to measure the gradient noise scale; 0 for
  /// not. Of no use to power-sgd.
  std::int64_t micro_batch = 0;
  /// The processes that train together; null where there is one.
  std::shared_ptr<Reduction> ranks = nullptr;
};

/// Updates of the model, which must outlive it, by that optimizer. Throws
/// c10::Error for another name and for a number that is missing, out of range
/// or of no use to the optimizer.
std::unique_ptr<Updater> make_updater(
    ImageModel& model, const OptimizerSettings& settings);

}  // namespace stepsize::trainer
