#include <stepsize/lr_scheduler/chained_scheduler.h>

#include <c10/util/Exception.h>

#include <string>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rules.h"

namespace stepsize {

LRRule ChainedSchedulerOptions::rule() const {
  const std::string kind = "ChainedScheduler";
  TORCH_CHECK(
      !schedulers_.empty(),
      kind,
      ": schedulers must have at least one entry, got an empty list");
  return detail::make_chained_rule(
      detail::OptionText(kind)
          .add_parts("schedulers", detail::options_of(schedulers_))
          .list(),
      schedulers_);
}

ChainedScheduler::ChainedScheduler(
    torch::optim::Optimizer& optimizer, const ChainedSchedulerOptions& options)
    : RuleLR(optimizer, options.rule()) {}

}  // namespace stepsize
