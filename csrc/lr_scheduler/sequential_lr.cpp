#include <stepsize/lr_scheduler/sequential_lr.h>

#include <c10/util/Exception.h>

#include <string>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rules.h"

namespace stepsize {

LRRule SequentialLROptions::rule() const {
  const std::string kind = "SequentialLR";
  TORCH_CHECK(
      !schedulers_.empty(),
      kind,
      ": schedulers must have at least one entry, got an empty list");
  TORCH_CHECK(
      milestones_.size() + 1 == schedulers_.size(),
      kind,
      ": milestones must be one fewer than the ",
      std::to_string(schedulers_.size()),
      " schedulers, got ",
      std::to_string(milestones_.size()));
  int64_t before = 0;
  for (const int64_t milestone : milestones_) {
    detail::check_option(
        milestone >= before,
        kind,
        "milestones",
        ">= 0 and not falling",
        milestone);
    before = milestone;
  }
  return detail::make_sequential_rule(
      detail::OptionText(kind)
          .add_parts("schedulers", detail::options_of(schedulers_))
          .add("milestones", milestones_)
          .list(),
      schedulers_,
      milestones_);
}

SequentialLR::SequentialLR(
    torch::optim::Optimizer& optimizer, const SequentialLROptions& options)
    : RuleLR(optimizer, options.rule()) {}

}  // namespace stepsize
