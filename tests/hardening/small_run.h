#pragma once

#include <torch/types.h>

#include <functional>
#include <string>
#include <vector>

namespace stepsize::test {

/// A small training run that shares nothing with another one: model, data,
/// optimizer, schedulers and generator are its own.
struct SmallRun {
  std::string name;
  /// Trains for some steps from a seed. Returns all that there is to compare:
  /// parameters, losses, rates, and what was saved.
  std::function<std::vector<torch::Tensor>(uint64_t seed)> train;
};

/// One a way to train: each optimizer, with schedulers of every kind of rule,
/// and the tools that go with them.
std::vector<SmallRun> small_runs();

}  // namespace stepsize::test
