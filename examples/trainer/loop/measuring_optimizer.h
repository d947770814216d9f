#pragma once

#include <stepsize/adaptive/diagonal_hessian_optimizer.h>
#include <stepsize/distributed/reduction.h>
#include <stepsize/optim/auto_sgd.h>
#include <stepsize/optim/power_method_sgd.h>

#include <memory>

#include "examples/trainer/loop/trained_optimizer.h"
#include "examples/trainer/model/image_model.h"

namespace stepsize::trainer {

/// For the optimizers that take a loss with its graph and find gradients, and
/// what they measure, themselves. The model must outlive them. The graphs of
/// all micro-batches live at once.
std::unique_ptr<TrainedOptimizer> by_curvature(
    ImageModel& model,
    std::unique_ptr<PowerMethodSGD> optimizer,
    const std::shared_ptr<Reduction>& ranks);
std::unique_ptr<TrainedOptimizer> by_policy(
    ImageModel& model,
    std::unique_ptr<AutoSGD> optimizer,
    const std::shared_ptr<Reduction>& ranks);
std::unique_ptr<TrainedOptimizer> by_diagonal(
    ImageModel& model,
    std::unique_ptr<DiagonalHessianOptimizer> optimizer,
    const std::shared_ptr<Reduction>& ranks);

}  // namespace stepsize::trainer
