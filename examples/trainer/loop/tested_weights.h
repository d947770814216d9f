#pragma once

#include <stepsize/adaptive/schedule_free_evaluation.h>
#include <torch/torch.h>

#include <functional>
#include <optional>
#include <vector>

#include "examples/trainer/data/batch_source.h"
#include "examples/trainer/loop/trained_optimizer.h"

namespace stepsize::trainer {

/// Runs the model over some thousand images at the start of the first epoch, in
/// batches of one size: always the same, for renew_batch_norm(). `should_stop`,
/// which is asked before each batch, ends it early.
void forward_some(
    ImageModel& model,
    BatchSource& images,
    const std::function<bool()>& should_stop = nullptr);

/// Gives a model the weights that are to be tested and shipped while it lives,
/// and then those that are trained again: of a Schedule-Free optimizer the
/// mean, with the running statistics of BatchNorm measured for it. With all
/// other optimizers the two are the same, and nothing is done. A test leaves no
/// trace in the training.
class TestedWeights {
 public:
  /// The statistics are those of forward_some() over training images. All ranks
  /// make one together. `images` may be null where the optimizer is no
  /// Schedule-Free one.
  TestedWeights(
      TrainedOptimizer& optimizer,
      BatchSource* images,
      const std::function<bool()>& should_stop = nullptr);
  ~TestedWeights();
  TestedWeights(const TestedWeights&) = delete;
  TestedWeights& operator=(const TestedWeights&) = delete;

  /// Copies of the model's buffers as they are tested; empty where nothing was
  /// done.
  std::vector<torch::Tensor> buffers() const;

 private:
  std::optional<ScheduleFreeEvaluation> mean_;
  std::vector<torch::Tensor> buffers_;
  std::vector<torch::Tensor> kept_;
};

/// Gives it those weights for good, at the end of a training, with the buffers
/// of the last test.
void take_tested_weights(
    TrainedOptimizer& optimizer, const std::vector<torch::Tensor>& buffers);

}  // namespace stepsize::trainer
