#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "examples/trainer/cli/option_values.h"
#include "examples/trainer/data/image_set.h"
#include "examples/trainer/loop/growing_batches.h"

namespace stepsize::trainer {

/// What a checkpoint says of its run at its head, to be read before anything of
/// the run exists.
struct RunRecord {
  OptionValues options;
  /// What data_text() says of its images.
  std::string data;
  /// What the schedule multiplies, found or given.
  double lr = 0;
  /// That the schedule was made for.
  std::int64_t planned_epochs = 0;
  /// Where the run has got another length since.
  std::vector<Stretch> stretches;
  /// Where the run was.
  std::int64_t epochs_done = 0;
  std::int64_t step = 0;
  /// By early stopping.
  bool stopped_early = false;
};

/// The record as Checkpoint::values() keeps it.
std::map<std::string, std::string> to_values(const RunRecord& record);

/// And back. Throws std::runtime_error naming the entry that is missing or that
/// it cannot read.
RunRecord to_record(const std::map<std::string, std::string>& values);

/// Sizes and a checksum of all images and labels: "60 training and 40 test
/// images, 1x28x28, 10 classes, checksum 1a2b3c4d".
std::string data_text(const TrainTestSets& sets);

}  // namespace stepsize::trainer
