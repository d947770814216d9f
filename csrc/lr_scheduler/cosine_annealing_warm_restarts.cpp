#include <stepsize/lr_scheduler/cosine_annealing_warm_restarts.h>

#include <stepsize/schedule/cycle.h>

#include <string>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rules.h"

namespace stepsize {

LRRule CosineAnnealingWarmRestartsOptions::rule() const {
  const std::string kind = "CosineAnnealingWarmRestarts";
  detail::check_option(T_0_ > 0, kind, "T_0", "> 0", T_0_);
  detail::check_option(T_mult_ >= 1, kind, "T_mult", ">= 1", T_mult_);
  detail::check_rates(kind, "eta_min", eta_min_, "a rate, not a factor, ");
  return detail::make_affine_rule(
      {detail::OptionText(kind)
           .add("T_0", T_0_)
           .add("T_mult", T_mult_, 1)
           .add("eta_min", eta_min_, 0.0)
           .list(),
       cosine_restarts(
           static_cast<double>(T_0_),
           CosineRestartsOptions().stretch(static_cast<double>(T_mult_))),
       detail::NamedPerGroup{"eta_min", eta_min_}});
}

CosineAnnealingWarmRestarts::CosineAnnealingWarmRestarts(
    torch::optim::Optimizer& optimizer,
    const CosineAnnealingWarmRestartsOptions& options)
    : RuleLR(optimizer, options.rule()) {}

}  // namespace stepsize
