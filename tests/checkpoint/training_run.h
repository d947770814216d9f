#pragma once

#include <ATen/core/Generator.h>
#include <stepsize/checkpoint/checkpoint.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace stepsize::test {

/// What trains: an optimizer, and what goes along with it ("" for nothing): a
/// scheduler as recipe_of() spells it, or "plateau", "curvature", "guard",
/// "noise", "stopping".
struct TrainingRow {
  std::string optimizer;
  std::string companion;
};

/// Every optimizer under a scheduler that cycles or cuts its rate, and every
/// scheduler and guard over SGD with momentum or Adam.
std::vector<TrainingRow> training_rows();

/// A run of a small network with batch normalization and dropout, whose batches
/// come from a generator of its own.
class TrainingRun {
 public:
  explicit TrainingRun(const TrainingRow& row);
  ~TrainingRun();

  void train(int64_t steps);
  /// Names all that it consists of.
  Checkpoint checkpoint();
  /// All that decides how it goes on, bit for bit: weights, buffers, rates, the
  /// optimizer's state, its companion's, counters, random state.
  std::string state();
  /// So far, where the rate is one that must be taken back.
  std::optional<int64_t> rollbacks() const;
  const std::vector<double>& losses() const { return losses_; }

 private:
  struct Parts;
  double step();

  std::unique_ptr<Parts> parts_;
  std::vector<double> losses_;
};

}  // namespace stepsize::test
