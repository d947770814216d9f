#include <stepsize/lr_scheduler/cosine_annealing_lr.h>

#include <stepsize/schedule/ramp.h>

#include <string>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rules.h"

namespace stepsize {

LRRule CosineAnnealingLROptions::rule() const {
  const std::string kind = "CosineAnnealingLR";
  detail::check_option(T_max_ > 0, kind, "T_max", "> 0", T_max_);
  detail::check_rates(kind, "eta_min", eta_min_, "a rate, not a factor, ");
  return detail::make_affine_rule(
      {detail::OptionText(kind)
           .add("T_max", T_max_)
           .add("eta_min", eta_min_, 0.0)
           .list(),
       cosine(static_cast<double>(T_max_)),
       detail::NamedPerGroup{"eta_min", eta_min_}});
}

CosineAnnealingLR::CosineAnnealingLR(
    torch::optim::Optimizer& optimizer, const CosineAnnealingLROptions& options)
    : RuleLR(optimizer, options.rule()) {}

}  // namespace stepsize
