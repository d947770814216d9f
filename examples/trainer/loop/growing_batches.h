#pragma once

#include <stepsize/schedule/schedule.h>
#include <stepsize/tune/batch_size_schedule.h>

#include <cstdint>
#include <string>
#include <vector>

#include "examples/trainer/cli/options.h"

namespace stepsize::trainer {

/// Where a run was given another length.
struct Stretch {
  std::int64_t images = 0;  ///< that it had been trained on
  std::int64_t epochs = 0;  ///< that it has in all from there on
};

/// Updates of a run whose batch grows where its schedule would lower the rate.
/// Time counts images: an update that is cut short by the end of an epoch moves
/// it by what it had, at the rate for that.
class GrowingBatches {
 public:
  /// For epochs of so many images; `run_length` is that of the schedule, in
  /// updates of the smallest batch.
  GrowingBatches(
      const TrainOptions& options,
      std::int64_t images,
      const Schedule& schedule,
      double run_length);

  /// Lays the updates out anew, what is left of the schedule at each stretch
  /// drawn out over the new length. Those before it stay bit for bit.
  void stretch(const std::vector<Stretch>& stretches);

  std::int64_t updates() const {
    return static_cast<std::int64_t>(parts_.size());
  }
  /// Micro-batches and rate of update n; those of the last one from there on.
  std::int64_t micro_batches(std::int64_t update) const;
  double factor(double update) const;

  std::string to_string() const { return growth_.to_string(); }

 private:
  BatchSizeSchedule growth_;
  std::int64_t batch_;   // at the start
  std::int64_t images_;  // in an epoch
  std::int64_t epochs_;  // that the schedule was made for
  std::vector<std::int64_t> parts_;
  std::vector<double> factors_;
};

}  // namespace stepsize::trainer
