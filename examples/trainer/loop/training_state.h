#pragma once

#include <torch/torch.h>

#include <cstdint>

namespace stepsize::trainer {

/// How far a run has come: what train() goes by, beside what the model, the
/// optimizer and the other parts of its setup keep.
struct TrainingState {
  std::int64_t epoch = 1;   ///< the one that is on, or comes next
  bool in_epoch = false;    ///< whether it is on, its test included
  std::int64_t step = 0;    ///< updates so far
  std::int64_t images = 0;  ///< that they were made from
  double lr = 0;            ///< the rate of the last of them
  /// Whether the last test had a loss that only some optimizers come back from.
  bool hopeless = false;

  /// Of the epoch that is on: losses times images, images that were told, and
  /// the time that training took.
  double loss_sum = 0;
  std::int64_t right = 0;
  double seconds = 0;

  void save(torch::serialize::OutputArchive& archive) const;
  /// Throws c10::Error, and changes nothing, where a number is missing or is
  /// none of a run.
  void load(torch::serialize::InputArchive& archive);
};

}  // namespace stepsize::trainer
