#pragma once

#include <stepsize/optim/indexed_optimizer.h>
#include <torch/serialize/archive.h>

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "csrc/optim/common_options.h"

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

/// The same where options ask for it, else 1.
template <typename Options>
double rate_correction(const Options& options, int64_t step) {
  const auto& [beta1, beta2] = options.betas();
  return options.use_bias_correction() ? bias_correction(beta1, beta2, step)
                                       : 1;
}

/// The options of a DistanceAdam, in parts: the rate and the betas, the decay,
/// the limit of the estimate's growth. eps has no role, as the rule of batch
/// sizes that goes by it is for rates that are set.
template <typename Options>
OptionList<Options>& add_distance_means(OptionList<Options>& list) {
  return add_betas(
      add_rate(list), OptionRole::kSecondBeta, /*same_in_groups=*/true);
}

template <typename Options>
OptionList<Options>& add_distance_decay(OptionList<Options>& list) {
  return add_weight_decay(positive(list.option(STEPSIZE_OPTION(eps))))
      .option(STEPSIZE_OPTION(decouple))
      .role(OptionRole::kDecouples)
      .option(STEPSIZE_OPTION(use_bias_correction))
      .same_in_groups();
}

template <typename Options>
OptionList<Options>& add_growth_rate(OptionList<Options>& list) {
  return list.option(STEPSIZE_OPTION(growth_rate))
      .must_be("a factor >= 1", [](double rate) { return rate >= 1; })
      .same_in_groups();
}

/// Reads a number; throws c10::Error unless it is finite and > 0.
double read_estimate(
    torch::serialize::InputArchive& archive,
    const std::string& kind,
    const std::string& key);

}  // namespace stepsize::detail
