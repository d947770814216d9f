#include <stepsize/lr_scheduler/schedule_lr.h>

namespace stepsize {

ScheduleLR::ScheduleLR(
    torch::optim::Optimizer& optimizer, const Schedule& schedule)
    : RuleLR(optimizer, LRRule(schedule)), schedule_(schedule) {}

}  // namespace stepsize
