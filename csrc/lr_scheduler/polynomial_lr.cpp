#include <stepsize/lr_scheduler/polynomial_lr.h>

#include <stepsize/schedule/ramp.h>

#include <cmath>
#include <string>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rules.h"

namespace stepsize {

LRRule PolynomialLROptions::rule() const {
  const std::string kind = "PolynomialLR";
  detail::check_option(
      total_iters_ >= 0, kind, "total_iters", ">= 0", total_iters_);
  detail::check_option(
      std::isfinite(power_) && power_ > 0,
      kind,
      "power",
      "finite and > 0",
      power_);
  return detail::make_affine_rule(
      {detail::OptionText(kind)
           .add("total_iters", total_iters_, 5)
           .add("power", power_, 1.0)
           .list(),
       polynomial(static_cast<double>(total_iters_), power_)});
}

PolynomialLR::PolynomialLR(
    torch::optim::Optimizer& optimizer, const PolynomialLROptions& options)
    : RuleLR(optimizer, options.rule()) {}

}  // namespace stepsize
