#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <mutex>
#include <utility>

#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/rule_node.h"
#include "csrc/lr_scheduler/rules.h"
#include "csrc/text/number.h"

namespace stepsize::detail {
namespace {

using Function = std::function<double(double)>;

double checked_factor(const Function& function, double t, const char* kind) {
  const double factor = function(t);
  TORCH_CHECK(
      std::isfinite(factor) && factor >= 0,
      kind,
      ": lr_lambda must return a finite number >= 0, got ",
      number_text(factor),
      " at t = ",
      number_text(t));
  return factor;
}

/// Functions of the user's: one for all groups, or one a group.
class FunctionsNode : public LRRuleNode {
 public:
  FunctionsNode(
      NamedOptions options, std::vector<Function> functions, bool is_list)
      : LRRuleNode(std::move(options)),
        functions_(std::move(functions)),
        is_list_(is_list) {}

  double length() const override {
    return std::numeric_limits<double>::infinity();
  }

  void check_group_count(int64_t groups) const override {
    if (!is_list_) return;
    check_list_length(kind(), "lr_lambda", functions_.size(), groups);
  }

 protected:
  /// Which function speaks for a group; the last one for those joined later.
  std::size_t index_of(const LRGroup& group) const {
    return std::min(
        static_cast<std::size_t>(group.index), functions_.size() - 1);
  }
  double factor(std::size_t index, double t) const {
    return checked_factor(functions_[index], t, kind().c_str());
  }
  std::size_t function_count() const { return functions_.size(); }

 private:
  std::vector<Function> functions_;
  bool is_list_;
};

class FunctionRule final : public FunctionsNode {
 public:
  using FunctionsNode::FunctionsNode;

  GroupRate at(const LRGroup& group, double t) const override {
    return {group.base_lr * factor(index_of(group), t), std::nullopt};
  }
};

class ProductRule final : public FunctionsNode {
 public:
  ProductRule(
      NamedOptions options, std::vector<Function> functions, bool is_list)
      : FunctionsNode(std::move(options), std::move(functions), is_list),
        in_turn_(function_count()),
        ahead_(function_count()) {}

  GroupRate at(const LRGroup& group, double t) const override {
    const double factor = product(index_of(group), t, group.looking_ahead);
    return {group.base_lr * factor, std::nullopt};
  }

 private:
  struct Reached {
    double k = 0;
    double product = 1;
  };

  // The last products found in turn and out of turn are kept, a memory of a
  // pure function: a step costs one call, whatever was looked at in between.
  double product(std::size_t index, double t, bool looking_ahead) const {
    const double last = std::floor(t);
    Reached now;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      for (const Reached& known : {in_turn_[index], ahead_[index]}) {
        if (known.k >= now.k && known.k <= last) now = known;
      }
    }
    while (now.k < last) {
      now.k += 1;
      now.product *= factor(index, now.k);
    }
    const std::lock_guard<std::mutex> lock(mutex_);
    (looking_ahead ? ahead_ : in_turn_)[index] = now;
    return now.product;
  }

  mutable std::mutex mutex_;
  mutable std::vector<Reached> in_turn_;
  mutable std::vector<Reached> ahead_;
};

}  // namespace

LRRule make_function_rule(
    NamedOptions options, std::vector<Function> functions, bool is_list) {
  return LRRule(std::make_shared<const FunctionRule>(
      std::move(options), std::move(functions), is_list));
}

LRRule make_product_rule(
    NamedOptions options, std::vector<Function> functions, bool is_list) {
  return LRRule(std::make_shared<const ProductRule>(
      std::move(options), std::move(functions), is_list));
}

}  // namespace stepsize::detail
