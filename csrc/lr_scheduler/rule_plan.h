#pragma once

#include <stepsize/lr_scheduler/rule_lr.h>

#include <optional>
#include <vector>

namespace stepsize {

/// What a step of a RuleLR to some time would set.
struct RuleLR::Plan {
  std::vector<double> base_lrs;
  std::vector<double> base_momenta;
  std::vector<double> lrs;
  std::vector<std::optional<double>> momenta;  // nothing: leave it alone
};

}  // namespace stepsize
