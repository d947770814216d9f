#include <c10/util/Exception.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rule_node.h"
#include "csrc/lr_scheduler/rules.h"

namespace stepsize::detail {
namespace {

class CompositeNode : public LRRuleNode {
 public:
  CompositeNode(NamedOptions options, std::vector<LRRule> rules)
      : LRRuleNode(std::move(options)), rules_(std::move(rules)) {}

  void check_group_count(int64_t groups) const override {
    for (const LRRule& rule : rules_) rule.check_group_count(groups);
  }

  const std::vector<LRRule>* parts() const override { return &rules_; }

  const MomentumAccess* momentum_access() const override {
    for (const LRRule& rule : rules_) {
      if (rule.momentum_access() != nullptr) return rule.momentum_access();
    }
    return nullptr;
  }

 protected:
  const std::vector<LRRule>& rules() const { return rules_; }

 private:
  std::vector<LRRule> rules_;
};

class SequentialRule final : public CompositeNode {
 public:
  SequentialRule(
      NamedOptions options,
      std::vector<LRRule> rules,
      std::vector<int64_t> milestones)
      : CompositeNode(std::move(options), std::move(rules)), starts_{0.0} {
    starts_.insert(starts_.end(), milestones.begin(), milestones.end());
  }

  GroupRate at(const LRGroup& group, double t) const override {
    const auto next = std::upper_bound(starts_.begin() + 1, starts_.end(), t);
    const auto active = static_cast<std::size_t>(next - starts_.begin()) - 1;
    GroupRate rate = rules()[active](group, t - starts_[active]);
    // A momentum stays where the last step of the last rule that cycled it has
    // left it, and must be found without having been there, or a seek would
    // differ.
    for (std::size_t i = active; i-- > 0 && !rate.momentum;) {
      const double played = starts_[i + 1] - starts_[i];
      if (rules()[i].momentum_access() == nullptr || played == 0) continue;
      rate.momentum = rules()[i](group, played - 1).momentum;
    }
    return rate;
  }

  bool uses_base_lr() const override {
    return std::any_of(rules().begin(), rules().end(), [](const LRRule& rule) {
      return rule.uses_base_lr();
    });
  }

  double length() const override {
    return starts_.back() + rules().back().length();
  }

 private:
  std::vector<double> starts_;
};

class ChainedRule final : public CompositeNode {
 public:
  using CompositeNode::CompositeNode;

  GroupRate at(const LRGroup& group, double t) const override {
    LRGroup stage = group;
    GroupRate rate{group.base_lr, std::nullopt};
    for (const LRRule& rule : rules()) {
      const GroupRate next = rule(stage, t);
      rate.lr = next.lr;
      if (next.momentum) rate.momentum = next.momentum;
      stage.base_lr = next.lr;
    }
    return rate;
  }

  bool uses_base_lr() const override {
    return std::all_of(rules().begin(), rules().end(), [](const LRRule& rule) {
      return rule.uses_base_lr();
    });
  }

  double length() const override {
    double longest = 0;
    for (const LRRule& rule : rules()) {
      longest = std::max(longest, rule.length());
    }
    return longest;
  }
};

// Of each group its own rule; the last one for those joined later.
class PerGroupRule final : public CompositeNode {
 public:
  using CompositeNode::CompositeNode;

  GroupRate at(const LRGroup& group, double t) const override {
    const auto index = static_cast<std::size_t>(group.index);
    return rules()[std::min(index, rules().size() - 1)](group, t);
  }

  double length() const override {
    double longest = 0;
    for (const LRRule& rule : rules()) {
      longest = std::max(longest, rule.length());
    }
    return longest;
  }

  void check_group_count(int64_t groups) const override {
    check_list_length(kind(), "the list", rules().size(), groups);
  }
};

}  // namespace

LRRule make_schedules_rule(const std::vector<Schedule>& schedules) {
  constexpr char kKind[] = "ScheduleLR";
  TORCH_CHECK(
      !schedules.empty(),
      kKind,
      ": the list must have one schedule a parameter group, or one for all, "
      "got none");
  std::vector<LRRule> rules(schedules.begin(), schedules.end());
  return LRRule(std::make_shared<const PerGroupRule>(
      OptionText(kKind).add_parts("schedules", options_of(rules)).list(),
      rules));
}

LRRule make_sequential_rule(
    NamedOptions options,
    std::vector<LRRule> rules,
    std::vector<int64_t> milestones) {
  return LRRule(std::make_shared<const SequentialRule>(
      std::move(options), std::move(rules), std::move(milestones)));
}

std::vector<NamedOptions> options_of(const std::vector<LRRule>& rules) {
  std::vector<NamedOptions> all;
  for (const LRRule& rule : rules) all.push_back(rule.options());
  return all;
}

LRRule make_chained_rule(NamedOptions options, std::vector<LRRule> rules) {
  return LRRule(std::make_shared<const ChainedRule>(
      std::move(options), std::move(rules)));
}

}  // namespace stepsize::detail
