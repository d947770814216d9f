#include <stepsize/lr_scheduler/step_lr.h>

#include <stepsize/schedule/decay.h>

#include <cmath>
#include <string>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rules.h"

namespace stepsize {

LRRule StepLROptions::rule() const {
  const std::string kind = "StepLR";
  detail::check_option(step_size_ > 0, kind, "step_size", "> 0", step_size_);
  detail::check_option(
      std::isfinite(gamma_) && gamma_ >= 0,
      kind,
      "gamma",
      "finite and >= 0",
      gamma_);
  return detail::make_affine_rule(
      {detail::OptionText(kind)
           .add("step_size", step_size_)
           .add("gamma", gamma_, 0.1)
           .list(),
       step_decay(static_cast<double>(step_size_), gamma_)});
}

StepLR::StepLR(torch::optim::Optimizer& optimizer, const StepLROptions& options)
    : RuleLR(optimizer, options.rule()) {}

}  // namespace stepsize
