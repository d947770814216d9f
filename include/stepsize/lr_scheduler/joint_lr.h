#pragma once

#include <stepsize/lr_scheduler/lr_rule.h>
#include <stepsize/lr_scheduler/rule_lr.h>
#include <stepsize/lr_scheduler/stateful_lr.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace stepsize {

/// One schedule for several optimizers, as where a model's matrices have one
/// and the rest has another:
///
///     JointLR scheduler({&muon, &adamw}, parse("warmup 500 > cosine 9500"));
///     for (...) {
///       muon.step();
///       adamw.step();
///       scheduler.step();
///     }
///
/// Each optimizer's groups follow the rule from base rates of their own; all
/// have one clock, one archive and one end. A step that is refused for one of
/// them has changed none. The optimizers must outlive it.
///
/// What a StatefulLR says of its optimizer (get_last_lr(), set_base_lrs(),
/// follow_skipped_steps()) is said of the first one; part() has the others.
class JointLR : public StatefulLR {
 public:
  /// Throws c10::Error, all optimizers untouched, where there is none, one is
  /// null or there twice, or the rule does not fit one of them.
  JointLR(
      const std::vector<torch::optim::Optimizer*>& optimizers,
      const LRRule& rule);

  std::size_t size() const { return parts_.size(); }
  /// What drives one of the optimizers. Not to be stepped by itself.
  const RuleLR& part(std::size_t index) const;

  /// As those of RuleLR, for all.
  void seek(int64_t t);
  void extend(int64_t new_length);
  void set_base_lrs(const PerGroup& base_lrs) override;

  std::function<void()> keep_options() override;

 protected:
  std::vector<double> get_lrs() override;
  const char* state_class() const override { return "JointLR"; }
  void save_state(torch::serialize::OutputArchive& archive) const override;
  void load_state(
      torch::serialize::InputArchive& archive,
      const std::vector<double>& lrs) override;
  void load_state_only(
      torch::serialize::InputArchive& archive,
      const detail::NamedOptions& saved,
      int64_t epoch,
      const std::vector<double>& lrs) override;
  void take_options(const detail::NamedOptions& options) override;

 private:
  // Moves all parts to time t; where one throws, all are as they were.
  void move_all(int64_t t, const std::function<void(RuleLR& part)>& move);
  void load_parts(torch::serialize::InputArchive& archive, OptionsFrom from);
  // Does this to all parts; where one throws, all are as they were.
  void for_all(const std::function<void(RuleLR& part, std::size_t)>& change);

  std::vector<std::unique_ptr<RuleLR>> parts_;
};

}  // namespace stepsize
