#include <stepsize/lr_scheduler/inverse_sqrt_lr.h>

#include <stepsize/schedule/decay.h>

#include <string>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rules.h"
#include "csrc/lr_scheduler/warmup.h"

namespace stepsize {

LRRule InverseSqrtLROptions::rule() const {
  const std::string kind = "InverseSqrtLR";
  detail::check_option(
      warmup_steps_ > 0, kind, "warmup_steps", "> 0", warmup_steps_);
  const Schedule up = detail::linear_warmup(kind, warmup_steps_, start_factor_);
  detail::OptionText text(kind);
  text.add("warmup_steps", warmup_steps_);
  if (start_factor_) text.add("start_factor", *start_factor_);
  return detail::make_affine_rule(
      {text.list(), up.then(inverse_sqrt(static_cast<double>(warmup_steps_)))});
}

InverseSqrtLR::InverseSqrtLR(
    torch::optim::Optimizer& optimizer, const InverseSqrtLROptions& options)
    : RuleLR(optimizer, options.rule()) {}

}  // namespace stepsize
