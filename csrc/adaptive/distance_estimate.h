#pragma once

#include <stepsize/optim/indexed_optimizer.h>
#include <torch/serialize/archive.h>

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

namespace stepsize::detail {

/// The rates of the groups, as methods that estimate a distance see them: one
/// rate, the largest, and of each group a factor of it, in [0, 1].
struct GroupRates {
  explicit GroupRates(
      const std::vector<torch::optim::OptimizerParamGroup>& groups);

  double largest = 0;
  std::vector<double> factors;
};

/// Leaves out the updates of groups whose rate is 0.
void drop_resting(
    const GroupRates& rates, std::vector<ParameterUpdate>& updates);

/// Adam's factor of the rate, sqrt(1 - beta2^t) / (1 - beta1^t).
double bias_correction(double beta1, double beta2, int64_t step);

/// Reads a number; throws c10::Error unless it is finite and > 0.
double read_estimate(
    torch::serialize::InputArchive& archive,
    const std::string& kind,
    const std::string& key);

}  // namespace stepsize::detail
