#pragma once

#include <stepsize/curvature/step_size_policy.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "tasks.h"

namespace stepsize::lab {

/// An optimizer, how it steps and what it says of itself.
struct Made {
  std::unique_ptr<torch::optim::Optimizer> optimizer;
  /// One update with the loss of a batch; returns that loss.
  std::function<double(const std::function<at::Tensor()>&)> step;
  /// The rate of the last update.
  std::function<double()> rate;
  /// What it has evaluated beyond one gradient an update.
  std::function<std::string()> cost = [] { return std::string("-"); };
};

/// A way to a rate, for SGD with momentum.
using Way = std::function<Made(const torch::nn::Module&)>;

Way constant(double rate, double momentum);
Way by_policy(std::shared_ptr<StepSizePolicy> policy, double momentum);
/// The same with RollbackRule as a net: where the gradient has grown and the
/// loss of the batch was lower at an earlier point, training goes back there
/// and on at a smaller rate.
Way netted(std::shared_ptr<StepSizePolicy> policy, double momentum);
Way power_method(double safety, double momentum);
/// RollbackSGD at a rate that is far too large for most: the check of the loss
/// is all that holds it.
Way rollback(double rate, double momentum);

/// What training came to. Not finite where it was lost.
struct Run {
  Score score;
  /// The highest training loss over the first one.
  double highest = 0;
  std::string cost;
};

/// Told after each update, with the batch that it was made with.
using Observer = std::function<void(
    int64_t update,
    const Network& network,
    const Made& made,
    const at::Tensor& inputs,
    const at::Tensor& labels)>;

Run train(
    const Task& task, const Way& way, int seed, const Observer& observer = {});

}  // namespace stepsize::lab
