#include <stepsize/lr_scheduler/lr_rule.h>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rule_node.h"
#include "csrc/lr_scheduler/rules.h"

namespace stepsize {

LRRule::LRRule(const Schedule& schedule)
    : LRRule(detail::make_affine_rule(
          {detail::OptionText("ScheduleLR")
               .add("schedule", schedule.to_string())
               .list(),
           schedule})) {}

LRRule::LRRule(const std::vector<Schedule>& schedules)
    : LRRule(detail::make_schedules_rule(schedules)) {}

LRRule::LRRule(std::shared_ptr<const detail::LRRuleNode> node)
    : node_(std::move(node)) {}

GroupRate LRRule::operator()(const LRGroup& group, double t) const {
  return node_->at(group, t);
}

double LRRule::length() const { return node_->length(); }

const std::string& LRRule::kind() const { return node_->kind(); }

const detail::NamedOptions& LRRule::options() const { return node_->options(); }

const std::vector<LRRule>* LRRule::parts() const { return node_->parts(); }

const std::string& LRRule::describe() const { return node_->text(); }

bool LRRule::uses_base_lr() const { return node_->uses_base_lr(); }

const MomentumAccess* LRRule::momentum_access() const {
  return node_->momentum_access();
}

void LRRule::check_group_count(int64_t groups) const {
  node_->check_group_count(groups);
}

}  // namespace stepsize
