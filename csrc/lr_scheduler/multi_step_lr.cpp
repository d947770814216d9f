#include <stepsize/lr_scheduler/multi_step_lr.h>

#include <stepsize/schedule/decay.h>
#include <stepsize/schedule/ramp.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rules.h"

namespace stepsize {

LRRule MultiStepLROptions::rule() const {
  const std::string kind = "MultiStepLR";
  std::vector<int64_t> sorted = milestones_;
  std::sort(sorted.begin(), sorted.end());
  for (const int64_t milestone : sorted) {
    detail::check_option(milestone >= 0, kind, "milestones", ">= 0", milestone);
  }
  detail::check_option(
      std::isfinite(gamma_) && gamma_ >= 0,
      kind,
      "gamma",
      "finite and >= 0",
      gamma_);
  // Of a factor that never changes the end is at once.
  const Schedule schedule =
      sorted.empty() ? constant().limit(0)
                     : multi_step({sorted.begin(), sorted.end()}, gamma_);
  return detail::make_affine_rule(
      {detail::OptionText(kind)
           .add("milestones", sorted)
           .add("gamma", gamma_, 0.1)
           .list(),
       schedule});
}

MultiStepLR::MultiStepLR(
    torch::optim::Optimizer& optimizer, const MultiStepLROptions& options)
    : RuleLR(optimizer, options.rule()) {}

}  // namespace stepsize
