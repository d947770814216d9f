#include <stepsize/lr_scheduler/exponential_lr.h>

#include <stepsize/schedule/decay.h>

#include <cmath>
#include <string>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rules.h"

namespace stepsize {

LRRule ExponentialLROptions::rule() const {
  const std::string kind = "ExponentialLR";
  detail::check_option(
      std::isfinite(gamma_) && gamma_ > 0,
      kind,
      "gamma",
      "finite and > 0",
      gamma_);
  return detail::make_affine_rule(
      {detail::OptionText(kind).add("gamma", gamma_).list(),
       exponential(gamma_)});
}

ExponentialLR::ExponentialLR(
    torch::optim::Optimizer& optimizer, const ExponentialLROptions& options)
    : RuleLR(optimizer, options.rule()) {}

}  // namespace stepsize
