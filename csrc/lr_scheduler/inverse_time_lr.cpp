#include <stepsize/lr_scheduler/inverse_time_lr.h>

#include <stepsize/schedule/decay.h>

#include <cmath>
#include <string>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rules.h"

namespace stepsize {

LRRule InverseTimeLROptions::rule() const {
  const std::string kind = "InverseTimeLR";
  detail::check_option(
      std::isfinite(decay_rate_) && decay_rate_ >= 0,
      kind,
      "decay_rate",
      "finite and >= 0",
      decay_rate_);
  detail::check_option(
      decay_steps_ > 0, kind, "decay_steps", "> 0", decay_steps_);
  return detail::make_affine_rule(
      {detail::OptionText(kind)
           .add("decay_rate", decay_rate_)
           .add("decay_steps", decay_steps_, 1)
           .add("staircase", staircase_, false)
           .list(),
       inverse_time(
           decay_rate_, static_cast<double>(decay_steps_), staircase_)});
}

InverseTimeLR::InverseTimeLR(
    torch::optim::Optimizer& optimizer, const InverseTimeLROptions& options)
    : RuleLR(optimizer, options.rule()) {}

}  // namespace stepsize
