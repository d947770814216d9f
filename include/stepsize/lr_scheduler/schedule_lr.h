#pragma once

#include <stepsize/lr_scheduler/rule_lr.h>
#include <stepsize/schedule/schedule.h>

namespace stepsize {

/// Drives an optimizer by a Schedule: the rate of every group is its base
/// rate times schedule(t).
///
///     ScheduleLR scheduler(optimizer, warmup(500).then(cosine(9500, 0.1)));
///     for (...) {
///       optimizer.step();
///       scheduler.step();
///     }
///
/// A schedule's callable that returns what is no rate throws std::domain_error
/// from step(), which has then changed nothing.
class ScheduleLR : public RuleLR {
 public:
  ScheduleLR(torch::optim::Optimizer& optimizer, const Schedule& schedule);

  const Schedule& schedule() const { return schedule_; }

 private:
  Schedule schedule_;
};

}  // namespace stepsize
