#include <stepsize/lr_scheduler/linear_warmup_lr.h>

#include <string>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rules.h"
#include "csrc/lr_scheduler/warmup.h"

namespace stepsize {

LRRule LinearWarmupLROptions::rule() const {
  const std::string kind = "LinearWarmupLR";
  const Schedule up = detail::linear_warmup(kind, warmup_steps_, start_factor_);
  detail::OptionText text(kind);
  text.add("warmup_steps", warmup_steps_);
  if (start_factor_) text.add("start_factor", *start_factor_);
  return detail::make_affine_rule({text.list(), up});
}

LinearWarmupLR::LinearWarmupLR(
    torch::optim::Optimizer& optimizer, const LinearWarmupLROptions& options)
    : RuleLR(optimizer, options.rule()) {}

}  // namespace stepsize
