#include <stepsize/lr_scheduler/constant_lr.h>

#include <stepsize/schedule/ramp.h>

#include <string>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rules.h"

namespace stepsize {

LRRule ConstantLROptions::rule() const {
  const std::string kind = "ConstantLR";
  detail::check_option(
      factor_ >= 0 && factor_ <= 1, kind, "factor", "in [0, 1]", factor_);
  detail::check_option(
      total_iters_ >= 0, kind, "total_iters", ">= 0", total_iters_);
  const auto length = static_cast<double>(total_iters_);
  return detail::make_affine_rule(
      {detail::OptionText(kind)
           .add("factor", factor_, 1.0 / 3.0)
           .add("total_iters", total_iters_, 5)
           .list(),
       constant(factor_).limit(length).then(constant()).limit(length)});
}

ConstantLR::ConstantLR(
    torch::optim::Optimizer& optimizer, const ConstantLROptions& options)
    : RuleLR(optimizer, options.rule()) {}

}  // namespace stepsize
