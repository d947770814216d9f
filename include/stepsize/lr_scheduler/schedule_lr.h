#pragma once

#include <stepsize/lr_scheduler/rule_lr.h>
#include <stepsize/schedule/parse.h>
#include <stepsize/schedule/schedule.h>

#include <cstddef>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

namespace stepsize {

/// Drives an optimizer by a Schedule: the rate of every group is its base
/// rate times schedule(t).
///
///     ScheduleLR scheduler(optimizer, "warmup 500 > cosine 9500 to 0.1");
///     for (...) {
///       optimizer.step();
///       scheduler.step();
///     }
///
/// The schedule may be code as well: warmup(500).then(cosine(9500, 0.1)). A
/// list has one schedule a parameter group, or one for all; a group added later
/// takes the last:
///
///     ScheduleLR scheduler(optimizer, {"constant 0.1", "cosine 9500"});
///
/// A schedule's callable that returns what is no rate throws std::domain_error
/// from step(), which has then changed nothing.
class ScheduleLR : public RuleLR {
 public:
  ScheduleLR(torch::optim::Optimizer& optimizer, const Schedule& schedule);

  /// Of the schedule that parse(text, context) makes; throws ParseError, the
  /// optimizer untouched, where it makes none. Epochs and shares of the run
  /// need the context: ScheduleLR(optimizer, "warmup 5% > cosine", {0, 10000}).
  ScheduleLR(
      torch::optim::Optimizer& optimizer,
      const std::string& text,
      const ParseContext& context = {});

  /// A schedule a group. Throws c10::Error where there are neither as many as
  /// groups nor one.
  ScheduleLR(
      torch::optim::Optimizer& optimizer, std::vector<Schedule> schedules);
  ScheduleLR(
      torch::optim::Optimizer& optimizer,
      std::initializer_list<const char*> texts,
      const ParseContext& context = {});

  /// The schedule of a group.
  const Schedule& schedule(std::size_t group = 0) const {
    return schedules_
        [group < schedules_.size() ? group : schedules_.size() - 1];
  }

  std::function<void()> keep_options() override;

 protected:
  void take_options(const detail::NamedOptions& options) override;

 private:
  std::vector<Schedule> schedules_;
};

}  // namespace stepsize
