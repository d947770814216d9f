#include <torch/optim/optimizer.h>

#include <memory>
#include <utility>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rule_node.h"
#include "csrc/lr_scheduler/rules.h"

namespace stepsize::detail {
namespace {

// An end that is zero has no say, or an overflowing share would make it NaN.
double mix(double at_one, double at_zero, double share) {
  if (at_zero == 0) return at_one == 0 ? 0.0 : at_one * share;
  return at_one * share + at_zero * (1.0 - share);
}

class AffineRule final : public LRRuleNode {
 public:
  explicit AffineRule(AffineSpec spec)
      : LRRuleNode(spec.options), spec_(std::move(spec)) {}

  GroupRate at(const LRGroup& group, double t) const override {
    const double share = spec_.schedule(t);
    GroupRate rate;
    rate.lr = mix(high(group), low(group), share);
    if (spec_.momentum) {
      const MomentumSpec& momentum = *spec_.momentum;
      rate.momentum =
          mix(momentum.at_one.value[group.index],
              momentum.at_zero.value[group.index],
              momentum.schedule(t));
    }
    return rate;
  }

  bool uses_base_lr() const override { return !spec_.high; }

  double length() const override { return spec_.schedule.length(); }

  void check_group_count(int64_t groups) const override {
    if (spec_.low) check(*spec_.low, groups);
    if (spec_.high) check(*spec_.high, groups);
    if (spec_.momentum) {
      check(spec_.momentum->at_one, groups);
      check(spec_.momentum->at_zero, groups);
    }
  }

  const MomentumAccess* momentum_access() const override {
    return spec_.momentum ? &spec_.momentum->access : nullptr;
  }

 private:
  double low(const LRGroup& group) const {
    if (!spec_.low) return 0.0;
    if (group.joined_later && spec_.join_later == JoinLater::kRateIsLow) {
      return group.base_lr;
    }
    return spec_.low->value[group.index];
  }

  double high(const LRGroup& group) const {
    if (!spec_.high) return group.base_lr;
    const double option = spec_.high->value[group.index];
    if (!group.joined_later) return option;
    switch (spec_.join_later) {
      case JoinLater::kRateIsHigh:
        return group.base_lr;
      case JoinLater::kRateIsLow: {
        const double low_option = spec_.low->value[group.index];
        return low_option > 0 ? group.base_lr * (option / low_option) : option;
      }
      case JoinLater::kByTheOptions:
        break;
    }
    return option;
  }

  void check(const NamedPerGroup& option, int64_t groups) const {
    if (!option.value.is_list()) return;
    check_list_length(
        kind(), option.name, option.value.values().size(), groups);
  }

  AffineSpec spec_;
};

}  // namespace

LRRule make_affine_rule(AffineSpec spec) {
  return LRRule(std::make_shared<const AffineRule>(std::move(spec)));
}

}  // namespace stepsize::detail
