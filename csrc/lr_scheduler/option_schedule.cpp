#include <stepsize/lr_scheduler/option_schedule.h>

#include <c10/util/Exception.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/lr_scheduler/group_writes.h"
#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/options_of_list.h"
#include "csrc/text/number.h"

namespace stepsize {
namespace {

constexpr char kOptionSchedule[] = "OptionSchedule";

const OptimizerOptionList& options_known(
    const torch::optim::OptimizerOptions& options, std::size_t group) {
  const OptimizerTraits* const traits = find_traits(options);
  TORCH_CHECK(
      traits != nullptr,
      kOptionSchedule,
      ": of the options of parameter group ",
      std::to_string(group),
      " nothing is known; describe_optimizer() tells it");
  return traits->options();
}

void check_scheduled_option(
    const torch::optim::OptimizerOptions& options,
    std::size_t group,
    const std::string& name) {
  const OptimizerOptionList& known = options_known(options, group);
  std::string names;
  for (const OptionField& field : known.fields()) {
    const bool is_number = field.kind == OptionKind::kNumber;
    if (field.name == name) {
      TORCH_CHECK(
          is_number,
          kOptionSchedule,
          ": ",
          name,
          " of ",
          known.kind(),
          " is no number that a schedule could drive");
      TORCH_CHECK(
          field.role != OptionRole::kRate,
          kOptionSchedule,
          ": ",
          name,
          " is the rate, which ScheduleLR drives");
      return;
    }
    if (is_number && field.role != OptionRole::kRate) {
      names += (names.empty() ? "" : ", ") + field.name;
    }
  }
  TORCH_CHECK(
      false,
      kOptionSchedule,
      ": ",
      known.kind(),
      " has no option ",
      name,
      "; it has ",
      names);
}

detail::NamedOptions listed_options(
    const std::string& option,
    const std::vector<Schedule>& schedules,
    ScheduledAs scheduled_as) {
  TORCH_CHECK(
      !schedules.empty(),
      kOptionSchedule,
      ": there must be one schedule at least, got an empty list");
  std::vector<detail::NamedOptions> parts;
  for (const Schedule& schedule : schedules) {
    parts.push_back(detail::OptionText("ScheduleLR")
                        .add("schedule", schedule.to_string())
                        .list());
  }
  return detail::OptionText(kOptionSchedule)
      .add("option", option)
      .add("as", scheduled_as == ScheduledAs::kValue ? "value" : "factor")
      .add_parts("schedules", std::move(parts))
      .list();
}

}  // namespace

OptionSchedule::OptionSchedule(
    torch::optim::Optimizer& optimizer,
    std::string option,
    std::vector<Schedule> schedules,
    ScheduledAs scheduled_as)
    : StatefulLR(optimizer, listed_options(option, schedules, scheduled_as)),
      option_(std::move(option)),
      schedules_(std::move(schedules)),
      scheduled_as_(scheduled_as) {
  detail::check_list_length(
      kOptionSchedule,
      "schedules",
      schedules_.size(),
      static_cast<int64_t>(optimizer.param_groups().size()));
  auto first_bases = bases();
  // Where some groups have one, as decay is for all but biases, the others are
  // to stay at 0.
  const bool all_zero = std::all_of(
      first_bases.begin(), first_bases.end(), [](double v) { return v == 0; });
  TORCH_CHECK(
      scheduled_as_ == ScheduledAs::kValue || !all_zero,
      kOptionSchedule,
      ": ",
      option_,
      " is 0, of which no factor makes another number; set it first, or "
      "schedule the value itself with ScheduledAs::kValue");
  set(values(0, first_bases), 0);
  bases_ = std::move(first_bases);
  commit(0, lrs_in_force());
}

OptionSchedule::OptionSchedule(
    torch::optim::Optimizer& optimizer,
    std::string option,
    const Schedule& schedule,
    ScheduledAs scheduled_as)
    : OptionSchedule(
          optimizer,
          std::move(option),
          std::vector<Schedule>{schedule},
          scheduled_as) {}

OptionSchedule::OptionSchedule(
    torch::optim::Optimizer& optimizer,
    std::string option,
    const std::string& text,
    ScheduledAs scheduled_as,
    const ParseContext& context)
    : OptionSchedule(
          optimizer, std::move(option), parse(text, context), scheduled_as) {}

const Schedule& OptionSchedule::schedule(std::size_t group) const {
  return schedules_[std::min(group, schedules_.size() - 1)];
}

std::vector<double> OptionSchedule::bases() const {
  const auto& groups = optimizer().param_groups();
  TORCH_CHECK(
      groups.size() >= bases_.size(),
      kOptionSchedule,
      ": the optimizer must keep its ",
      std::to_string(bases_.size()),
      " parameter groups, got ",
      std::to_string(groups.size()));
  std::vector<double> all = bases_;
  for (std::size_t i = bases_.size(); i < groups.size(); ++i) {
    const auto& options = groups[i].options();
    check_scheduled_option(options, i, option_);
    all.push_back(options_known(options, i).get(options, option_));
  }
  return all;
}

// A value that is out of the option's range is refused where it is set.
std::vector<double> OptionSchedule::values(
    int64_t t, const std::vector<double>& bases) const {
  std::vector<double> values;
  for (std::size_t i = 0; i < bases.size(); ++i) {
    const double factor = schedule(i)(static_cast<double>(t));
    const double base = scheduled_as_ == ScheduledAs::kFactor ? bases[i] : 1;
    values.push_back(base * factor);
  }
  return values;
}

void OptionSchedule::set(const std::vector<double>& values, int64_t t) {
  auto& groups = optimizer().param_groups();
  std::vector<double> before;
  try {
    for (std::size_t i = 0; i < values.size(); ++i) {
      auto& options = groups[i].options();
      const OptimizerOptionList& known = options_known(options, i);
      const double present = known.get(options, option_);
      // LibTorch's SGD takes any, of which 1 and more only diverge.
      TORCH_CHECK(
          known.name_of(OptionRole::kMomentum) != option_ ||
              (values[i] >= 0 && values[i] < 1),
          option_,
          " of parameter group ",
          std::to_string(i),
          " must be in [0, 1), got ",
          detail::number_text(values[i]));
      known.set(options, option_, values[i]);
      before.push_back(present);
      known.check(options);
    }
  } catch (const c10::Error& error) {
    for (std::size_t i = 0; i < before.size(); ++i) {
      auto& options = groups[i].options();
      options_known(options, i).set(options, option_, before[i]);
    }
    TORCH_CHECK(
        false,
        kOptionSchedule,
        ": at t = ",
        std::to_string(t),
        ": ",
        error.what_without_backtrace());
  }
}

std::vector<double> OptionSchedule::get_lrs() {
  if (follows_a_skipped_step()) return lrs_in_force();
  const int64_t t = next_epoch();
  auto now = bases();
  auto next = values(t, now);
  // Past its end what others write stays.
  for (std::size_t i = 0; i < bases_.size(); ++i) {
    if (static_cast<double>(last_epoch()) < schedule(i).length()) continue;
    const auto& options = optimizer().param_groups()[i].options();
    next[i] = options_known(options, i).get(options, option_);
  }
  set(next, t);
  bases_ = std::move(now);
  commit(t, lrs_in_force());
  return get_last_lr();
}

std::vector<double> OptionSchedule::values_at(int64_t t) const {
  detail::check_option(
      t >= 0 && t <= kLastTime,
      kOptionSchedule,
      "t of values_at",
      "in [0, 2^53]",
      t);
  return values(t, bases());
}

void OptionSchedule::seek(int64_t t) {
  detail::check_option(
      t >= 0 && t <= kLastTime,
      kOptionSchedule,
      "t of seek",
      "in [0, 2^53]",
      t);
  auto now = bases();
  set(values(t, now), t);
  bases_ = std::move(now);
  commit(t, lrs_in_force());
}

void OptionSchedule::save_state(
    torch::serialize::OutputArchive& archive) const {
  detail::write_doubles(archive, "bases", bases_);
  std::vector<double> present;
  const auto& groups = optimizer().param_groups();
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const auto& options = groups[i].options();
    present.push_back(options_known(options, i).get(options, option_));
  }
  detail::write_doubles(archive, "values", present);
}

void OptionSchedule::load_state(
    torch::serialize::InputArchive& archive, const std::vector<double>& lrs) {
  auto bases = detail::read_doubles(archive, kOptionSchedule, "bases");
  const auto values = detail::read_doubles(archive, kOptionSchedule, "values");
  TORCH_CHECK(
      bases.size() <= lrs.size() && values.size() == lrs.size(),
      kOptionSchedule,
      ": the archive has ",
      std::to_string(values.size()),
      " values of ",
      option_,
      ", the optimizer ",
      std::to_string(lrs.size()),
      " parameter groups");
  detail::check_finite(kOptionSchedule, "bases", bases);
  detail::GroupWrites writes(optimizer());
  writes.set_lrs(lrs);
  set(values, last_epoch());
  writes.keep();
  bases_ = std::move(bases);
}

void OptionSchedule::load_state_only(
    torch::serialize::InputArchive& archive,
    const detail::NamedOptions& saved,
    int64_t epoch,
    const std::vector<double>& /*lrs*/) {
  const auto* name = saved.find("option");
  TORCH_CHECK(
      name != nullptr && name->value == option_,
      kOptionSchedule,
      ": the archive is of another option than ",
      option_);
  auto bases = detail::read_doubles(archive, kOptionSchedule, "bases");
  detail::check_finite(kOptionSchedule, "bases", bases);
  TORCH_CHECK(
      bases.size() <= optimizer().param_groups().size(),
      kOptionSchedule,
      ": the archive has more values of ",
      option_,
      " than the optimizer parameter groups");
  set(values(epoch, bases), epoch);
  bases_ = std::move(bases);
}

void OptionSchedule::take_options(const detail::NamedOptions& options) {
  const auto* name = options.find("option");
  const auto* as = options.find("as");
  TORCH_CHECK(
      name != nullptr && name->value == option_ && as != nullptr,
      kOptionSchedule,
      ": the archive is of another option than ",
      option_);
  auto schedules = detail::schedules_of(options);
  detail::check_list_length(
      kOptionSchedule,
      "schedules",
      schedules.size(),
      static_cast<int64_t>(optimizer().param_groups().size()));
  const auto scheduled_as =
      as->value == "value" ? ScheduledAs::kValue : ScheduledAs::kFactor;
  set_options(listed_options(option_, schedules, scheduled_as));
  schedules_ = std::move(schedules);
  scheduled_as_ = scheduled_as;
}

std::function<void()> OptionSchedule::keep_options() {
  return [this,
          schedules = schedules_,
          as = scheduled_as_,
          rest = StatefulLR::keep_options()] {
    schedules_ = schedules;
    scheduled_as_ = as;
    rest();
  };
}

}  // namespace stepsize
