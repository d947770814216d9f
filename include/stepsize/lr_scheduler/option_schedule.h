#pragma once

#include <stepsize/lr_scheduler/stateful_lr.h>
#include <stepsize/schedule/parse.h>
#include <stepsize/schedule/schedule.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace stepsize {

/// What a schedule's number is of an option.
enum class ScheduledAs : std::uint8_t {
  kFactor,  ///< of the group's value when the scheduler was made: 0 stays 0
  kValue,   ///< the value itself
};

/// Drives any number among an optimizer's options by a Schedule, as ScheduleLR
/// does the rate:
///
///     ScheduleLR rate(optimizer, "warmup 500 > cosine 9500");
///     OptionSchedule decay(
///         optimizer, "weight_decay", "linear 10000 from 0.04 to 0.4",
///         ScheduledAs::kValue);
///     for (...) {
///       optimizer.step();
///       rate.step();
///       decay.step();
///     }
///
/// The option goes by its name in OptimizerTraits: `weight_decay`, `momentum`,
/// `beta1`, `beta2`, `eps`, `max_norm` and so on. The constructor applies t =
/// 0, and n calls of step() t = n; past the end step() leaves the option alone.
/// A group that joins later brings its value along, and takes the last
/// schedule. The rates stay as they are.
///
/// Throws c10::Error, nothing changed, where the optimizer has no such option,
/// and in the step to a value that is out of the option's range.
class OptionSchedule : public StatefulLR {
 public:
  /// A schedule a parameter group, or one for all.
  OptionSchedule(
      torch::optim::Optimizer& optimizer,
      std::string option,
      std::vector<Schedule> schedules,
      ScheduledAs scheduled_as = ScheduledAs::kFactor);
  OptionSchedule(
      torch::optim::Optimizer& optimizer,
      std::string option,
      const Schedule& schedule,
      ScheduledAs scheduled_as = ScheduledAs::kFactor);
  /// Of the schedule that parse(text, context) makes.
  OptionSchedule(
      torch::optim::Optimizer& optimizer,
      std::string option,
      const std::string& text,
      ScheduledAs scheduled_as = ScheduledAs::kFactor,
      const ParseContext& context = {});

  const std::string& option() const { return option_; }

  /// The option's values at t in [0, 2^53], one a group; changes nothing.
  std::vector<double> values_at(int64_t t) const;

  /// Jumps to t in [0, 2^53] and applies its values, past the end too.
  void seek(int64_t t);

  std::function<void()> keep_options() override;

 protected:
  std::vector<double> get_lrs() override;
  const char* state_class() const override { return "OptionSchedule"; }
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
  const Schedule& schedule(std::size_t group) const;
  // The base values, with those of groups that have joined.
  std::vector<double> bases() const;
  std::vector<double> values(int64_t t, const std::vector<double>& bases) const;
  // Sets all or, throwing, none; `t` is for the message.
  void set(const std::vector<double>& values, int64_t t);

  std::string option_;
  std::vector<Schedule> schedules_;
  ScheduledAs scheduled_as_;
  std::vector<double> bases_;
};

}  // namespace stepsize
