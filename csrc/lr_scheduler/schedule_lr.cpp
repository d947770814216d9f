#include <stepsize/lr_scheduler/schedule_lr.h>

#include <utility>

#include "csrc/lr_scheduler/options_of_list.h"

namespace stepsize {

ScheduleLR::ScheduleLR(
    torch::optim::Optimizer& optimizer, const Schedule& schedule)
    : RuleLR(optimizer, LRRule(schedule)), schedule_(schedule) {}

ScheduleLR::ScheduleLR(
    torch::optim::Optimizer& optimizer,
    const std::string& text,
    const ParseContext& context)
    : ScheduleLR(optimizer, parse(text, context)) {}

void ScheduleLR::take_options(const detail::OptionList& options) {
  Schedule taken = detail::schedule_of(options);
  RuleLR::take_options(options);
  schedule_ = std::move(taken);
}

std::function<void()> ScheduleLR::keep_options() {
  return [this, schedule = schedule_, rule = RuleLR::keep_options()] {
    schedule_ = schedule;
    rule();
  };
}

}  // namespace stepsize
