#include <stepsize/lr_scheduler/schedule_lr.h>

#include <utility>

#include "csrc/lr_scheduler/options_of_list.h"

namespace stepsize {
namespace {

std::vector<Schedule> parsed(
    std::initializer_list<const char*> texts, const ParseContext& context) {
  std::vector<Schedule> schedules;
  for (const char* text : texts) schedules.push_back(parse(text, context));
  return schedules;
}

}  // namespace

ScheduleLR::ScheduleLR(
    torch::optim::Optimizer& optimizer, const Schedule& schedule)
    : RuleLR(optimizer, LRRule(schedule)), schedules_{schedule} {}

ScheduleLR::ScheduleLR(
    torch::optim::Optimizer& optimizer,
    const std::string& text,
    const ParseContext& context)
    : ScheduleLR(optimizer, parse(text, context)) {}

ScheduleLR::ScheduleLR(
    torch::optim::Optimizer& optimizer, std::vector<Schedule> schedules)
    : RuleLR(optimizer, LRRule(schedules)), schedules_(std::move(schedules)) {}

ScheduleLR::ScheduleLR(
    torch::optim::Optimizer& optimizer,
    std::initializer_list<const char*> texts,
    const ParseContext& context)
    : ScheduleLR(optimizer, parsed(texts, context)) {}

void ScheduleLR::take_options(const detail::NamedOptions& options) {
  std::vector<Schedule> taken = detail::schedules_of(options);
  RuleLR::take_options(options);
  schedules_ = std::move(taken);
}

std::function<void()> ScheduleLR::keep_options() {
  return [this, schedules = schedules_, rule = RuleLR::keep_options()] {
    schedules_ = schedules;
    rule();
  };
}

}  // namespace stepsize
