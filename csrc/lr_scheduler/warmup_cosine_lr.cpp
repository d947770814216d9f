#include <stepsize/lr_scheduler/warmup_cosine_lr.h>

#include <stepsize/schedule/ramp.h>

#include <string>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rules.h"
#include "csrc/lr_scheduler/warmup.h"

namespace stepsize {

LRRule WarmupCosineLROptions::rule() const {
  const std::string kind = "WarmupCosineLR";
  detail::check_option(
      total_steps_ > 0, kind, "total_steps", "> 0", total_steps_);
  detail::check_option(
      warmup_steps_ >= 0 && warmup_steps_ <= total_steps_,
      kind,
      "warmup_steps",
      "in [0, total_steps = " + std::to_string(total_steps_) + "]",
      warmup_steps_);
  detail::check_rates(kind, "eta_min", eta_min_, "a rate, not a factor, ");
  const Schedule up = detail::linear_warmup(kind, warmup_steps_, start_factor_);
  detail::OptionText text(kind);
  text.add("warmup_steps", warmup_steps_).add("total_steps", total_steps_);
  if (start_factor_) text.add("start_factor", *start_factor_);
  text.add("eta_min", eta_min_, 0.0);
  const auto fall = static_cast<double>(total_steps_ - warmup_steps_);
  const LRRule down = detail::make_affine_rule(
      {text.list(), cosine(fall), detail::NamedPerGroup{"eta_min", eta_min_}});
  return detail::make_sequential_rule(
      text.list(), {LRRule(up), down}, {warmup_steps_});
}

WarmupCosineLR::WarmupCosineLR(
    torch::optim::Optimizer& optimizer, const WarmupCosineLROptions& options)
    : RuleLR(optimizer, options.rule()) {}

}  // namespace stepsize
