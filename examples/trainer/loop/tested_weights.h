#pragma once

#include <stepsize/adaptive/schedule_free_evaluation.h>
#include <torch/torch.h>

#include <optional>
#include <vector>

#include "examples/trainer/data/batch_source.h"
#include "examples/trainer/loop/trained_optimizer.h"

namespace stepsize::trainer {

/// Gives a model the weights that are to be tested and shipped while it lives,
/// and then those that are trained again: of a Schedule-Free optimizer the
/// mean, with the running statistics of BatchNorm measured for it. With all
/// other optimizers the two are the same, and nothing is done. A test leaves no
/// trace in the training.
class TestedWeights {
 public:
  /// The statistics are those of the first batches of the first epoch of
  /// `images`, training images: always the same. All ranks make one together.
  TestedWeights(TrainedOptimizer& optimizer, BatchSource& images);
  ~TestedWeights();
  TestedWeights(const TestedWeights&) = delete;
  TestedWeights& operator=(const TestedWeights&) = delete;

 private:
  std::optional<ScheduleFreeEvaluation> mean_;
  std::vector<torch::Tensor> buffers_;
  std::vector<torch::Tensor> kept_;
};

/// Gives it those weights for good, at the end of a training.
void take_tested_weights(TrainedOptimizer& optimizer, BatchSource& images);

}  // namespace stepsize::trainer
