#pragma once

#include <stepsize/distributed/average.h>
#include <stepsize/distributed/reduction.h>
#include <torch/optim/optimizer.h>

#include <exception>
#include <functional>
#include <vector>

namespace stepsize::detail {

/// Those of all groups, one after the other.
std::vector<at::Tensor> parameters_of(const torch::optim::Optimizer& optimizer);

/// The options of all groups, seeds aside, which must be the same on all ranks:
/// a schedule of one rank that is a step ahead, or another momentum, shows in
/// nothing else. Of a class of which nothing is known the rates.
CommonNumbers options_of(const torch::optim::Optimizer& optimizer);

/// Calls the closure, where there is one, with gradients enabled, and then
/// `check`, which may refuse the gradients by throwing. With a reduction,
/// gradients and loss are the means over ranks after it, and where one rank
/// throws, or has other options, all do.
at::Tensor evaluate_gradients(
    const torch::optim::Optimizer::LossClosure& closure,
    const std::function<void()>& check,
    const torch::optim::Optimizer& optimizer,
    Reduction* reduction);

/// Runs a check that comes before the ranks' first exchange. With a reduction,
/// returns what it throws, to be thrown where the others hear of it.
std::exception_ptr refusal_of(
    const std::function<void()>& check, Reduction* reduction);

/// Makes the numbers the means over ranks: the last bit may differ where
/// processors do, and all must step alike. Null: no other ranks.
void agree_on(std::vector<double>& numbers, Reduction* reduction);

}  // namespace stepsize::detail
