#include <stepsize/lr_scheduler/schedule_lr.h>

namespace stepsize {

ScheduleLR::ScheduleLR(
    torch::optim::Optimizer& optimizer, const Schedule& schedule)
    : RuleLR(optimizer, LRRule(schedule)), schedule_(schedule) {}

ScheduleLR::ScheduleLR(
    torch::optim::Optimizer& optimizer,
    const std::string& text,
    const ParseContext& context)
    : ScheduleLR(optimizer, parse(text, context)) {}

}  // namespace stepsize
