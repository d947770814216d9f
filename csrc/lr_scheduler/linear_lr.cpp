#include <stepsize/lr_scheduler/linear_lr.h>

#include <stepsize/schedule/ramp.h>

#include <string>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rules.h"

namespace stepsize {

LRRule LinearLROptions::rule() const {
  const std::string kind = "LinearLR";
  detail::check_option(
      start_factor_ >= 0 && start_factor_ <= 1,
      kind,
      "start_factor",
      "in [0, 1]",
      start_factor_);
  detail::check_option(
      end_factor_ >= 0 && end_factor_ <= 1,
      kind,
      "end_factor",
      "in [0, 1]",
      end_factor_);
  detail::check_option(
      total_iters_ >= 0, kind, "total_iters", ">= 0", total_iters_);
  return detail::make_affine_rule(
      {detail::OptionText(kind)
           .add("start_factor", start_factor_, 1.0 / 3.0)
           .add("end_factor", end_factor_, 1.0)
           .add("total_iters", total_iters_, 5)
           .list(),
       linear(static_cast<double>(total_iters_), start_factor_, end_factor_)});
}

LinearLR::LinearLR(
    torch::optim::Optimizer& optimizer, const LinearLROptions& options)
    : RuleLR(optimizer, options.rule()) {}

}  // namespace stepsize
