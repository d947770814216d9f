#pragma once

#include <stepsize/lr_scheduler/rule_lr.h>
#include <stepsize/schedule/parse.h>
#include <stepsize/schedule/schedule.h>

#include <functional>
#include <string>

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
/// schedule's callable that returns what is no rate throws std::domain_error
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

  const Schedule& schedule() const { return schedule_; }

  std::function<void()> keep_options() override;

 protected:
  void take_options(const detail::OptionList& options) override;

 private:
  Schedule schedule_;
};

}  // namespace stepsize
