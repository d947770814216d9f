#include "csrc/adaptive/distance_estimate.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>

#include "csrc/core/archive.h"
#include "csrc/text/number.h"

namespace stepsize::detail {

GroupRates::GroupRates(
    const std::vector<torch::optim::OptimizerParamGroup>& groups) {
  for (const auto& group : groups) {
    factors.push_back(group.options().get_lr());
    largest = std::max(largest, factors.back());
  }
  for (double& factor : factors) {
    factor = factor == largest ? 1 : factor / largest;
  }
}

void drop_resting(
    const GroupRates& rates, std::vector<ParameterUpdate>& updates) {
  updates.erase(
      std::remove_if(
          updates.begin(),
          updates.end(),
          [&rates](const ParameterUpdate& update) {
            return rates.largest == 0 || rates.factors[update.group] == 0;
          }),
      updates.end());
}

double bias_correction(double beta1, double beta2, int64_t step) {
  const auto t = static_cast<double>(step);
  return std::sqrt(1 - std::pow(beta2, t)) / (1 - std::pow(beta1, t));
}

double read_estimate(
    torch::serialize::InputArchive& archive,
    const std::string& kind,
    const std::string& key) {
  const double value = read_double(archive, kind, key);
  TORCH_CHECK(
      std::isfinite(value) && value > 0,
      kind,
      ": '",
      key,
      "' of the archive must be finite and > 0, got ",
      number_text(value));
  return value;
}

}  // namespace stepsize::detail
