#include "csrc/curvature/policy_state.h"

#include <c10/util/Exception.h>

#include <cmath>
#include <cstddef>

namespace stepsize::detail {

bool is_positive_number(double value) {
  return std::isfinite(value) && value > 0;
}

bool is_interval(int64_t value) { return value >= 1 && value < (1LL << 52); }

void check_policy_state(
    const char* policy,
    const std::vector<double>& state,
    const std::vector<StateNumber>& kinds) {
  bool holds = state.size() == kinds.size();
  for (std::size_t i = 0; holds && i < kinds.size(); ++i) {
    const double value = state[i];
    holds = std::isfinite(value) && value >= 0 &&
            (kinds[i] != StateNumber::kCount ||
             (value <= 0x1p53 && value == std::floor(value)));
  }
  TORCH_CHECK(holds, policy, ": this is no state of that policy");
}

}  // namespace stepsize::detail
