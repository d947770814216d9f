#include <stepsize/lr_scheduler/stateful_lr.h>

#include <c10/util/Exception.h>
#include <stepsize/optim/grad_scaler.h>
#include <stepsize/state/optimizer_traits.h>
#include <torch/serialize/archive.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/core/named_options.h"
#include "csrc/lr_scheduler/group_writes.h"
#include "csrc/lr_scheduler/option_text.h"

namespace stepsize {
namespace {

constexpr int64_t kFormat = 1;
constexpr char kSchedulerFormatKey[] = "stepsize_lr_format";
constexpr char kOptionsKey[] = "option_list";
constexpr char kSkippedKey[] = "skipped_steps";

}  // namespace

StatefulLR::StatefulLR(
    torch::optim::Optimizer& optimizer,
    std::string kind,
    std::string fingerprint)
    : LRScheduler(optimizer),
      optimizer_(&optimizer),
      kind_(std::move(kind)),
      options_(std::make_shared<const detail::NamedOptions>(
          detail::NamedOptions::parse(fingerprint))),
      fingerprint_(std::move(fingerprint)) {}

StatefulLR::StatefulLR(
    torch::optim::Optimizer& optimizer, detail::NamedOptions options)
    : LRScheduler(optimizer),
      optimizer_(&optimizer),
      kind_(options.kind()),
      options_(
          std::make_shared<const detail::NamedOptions>(std::move(options))),
      fingerprint_(options_->text()) {}

void StatefulLR::set_options(const detail::NamedOptions& options) {
  options_ = std::make_shared<const detail::NamedOptions>(options);
  fingerprint_ = options_->text();
}

std::function<void()> StatefulLR::keep_options() {
  return [this, options = options_] {
    options_ = options;
    fingerprint_ = options->text();
  };
}

void StatefulLR::load_state_only(
    torch::serialize::InputArchive& /*archive*/,
    const detail::NamedOptions& /*saved*/,
    int64_t /*epoch*/,
    const std::vector<double>& /*lrs*/) {
  TORCH_CHECK(false, kind_, ": cannot load the state of other options");
}

void StatefulLR::take_options(const detail::NamedOptions& /*options*/) {
  TORCH_CHECK(false, kind_, ": cannot take options from a file");
}

std::vector<double> StatefulLR::lrs_in_force() const {
  std::vector<double> lrs;
  const auto& groups = optimizer().param_groups();
  lrs.reserve(groups.size());
  for (const auto& group : groups) lrs.push_back(group.options().get_lr());
  return lrs;
}

std::vector<double> StatefulLR::checked_base_lrs(
    const PerGroup& base_lrs) const {
  constexpr char kOption[] = "base_lrs";
  detail::check_rates(kind_, kOption, base_lrs);
  const std::size_t groups = optimizer().param_groups().size();
  if (base_lrs.is_list()) {
    detail::check_list_length(
        kind_, kOption, base_lrs.values().size(), static_cast<int64_t>(groups));
  }
  std::vector<double> lrs;
  for (std::size_t i = 0; i < groups; ++i) {
    lrs.push_back(base_lrs[static_cast<int64_t>(i)]);
  }
  return lrs;
}

void StatefulLR::set_base_lrs(const PerGroup& base_lrs) {
  std::vector<double> lrs = checked_base_lrs(base_lrs);
  detail::GroupWrites writes(*optimizer_);
  writes.set_lrs(lrs);
  writes.keep();
  last_lrs_ = std::move(lrs);
}

namespace {

// Null where nothing tells.
const OptimizerTraits::Count* skipped_count(
    const torch::optim::Optimizer& optimizer) {
  const OptimizerTraits* const traits = find_traits(optimizer);
  return traits != nullptr && traits->skipped_steps() ? &traits->skipped_steps()
                                                      : nullptr;
}

}  // namespace

void StatefulLR::follow_skipped_steps(bool on) {
  const auto* const count = skipped_count(*optimizer_);
  TORCH_CHECK(
      !on || count != nullptr,
      kind_,
      ": follow_skipped_steps: nothing tells how many steps this optimizer "
      "leaves out; its OptimizerTraits may, by skipped_steps, or a GradScaler");
  follows_skipped_ = on;
  skipped_ = on ? std::optional<int64_t>((*count)(*optimizer_)) : std::nullopt;
  scaler_ = nullptr;
}

void StatefulLR::follow_skipped_steps(const GradScaler& scaler) {
  const auto* const count = skipped_count(*optimizer_);
  const int64_t by_scaler = scaler.skipped_steps(*optimizer_);
  skipped_ = count != nullptr ? std::optional<int64_t>((*count)(*optimizer_))
                              : std::nullopt;
  scaler_ = &scaler;
  skipped_by_scaler_ = by_scaler;
  follows_skipped_ = true;
}

bool StatefulLR::follows_a_skipped_step() {
  if (!follows_skipped_) return false;
  bool skipped = false;
  if (const auto* const count = skipped_count(*optimizer_)) {
    const int64_t now = (*count)(*optimizer_);
    skipped = skipped_ && now > *skipped_;
    skipped_ = now;
  }
  if (scaler_ != nullptr) {
    const int64_t now = scaler_->skipped_steps(*optimizer_);
    skipped = skipped || now > skipped_by_scaler_;
    skipped_by_scaler_ = now;
  }
  return skipped;
}

void StatefulLR::commit(int64_t last_epoch, std::vector<double> lrs) {
  last_epoch_ = last_epoch;
  last_lrs_ = std::move(lrs);
}

int64_t StatefulLR::next_epoch() const {
  TORCH_CHECK(last_epoch_ < kLastTime, kind_, ": the clock ends at 2^53");
  return last_epoch_ + 1;
}

torch::serialize::OutputArchive& operator<<(
    torch::serialize::OutputArchive& archive, const StatefulLR& scheduler) {
  detail::write_int(archive, kSchedulerFormatKey, kFormat);
  detail::write_string(archive, "kind", scheduler.kind_);
  // For versions that know no list of options.
  detail::write_string(archive, "fingerprint", scheduler.fingerprint_);
  torch::serialize::OutputArchive options(archive.compilation_unit());
  scheduler.options_->write(options);
  archive.write(kOptionsKey, options);
  detail::write_int(archive, "last_epoch", scheduler.last_epoch_);
  detail::write_string(archive, "state_class", scheduler.state_class());
  detail::write_doubles(archive, "lrs", scheduler.lrs_in_force());
  if (scheduler.skipped_) {
    detail::write_int(archive, kSkippedKey, *scheduler.skipped_);
  }
  scheduler.save_state(archive);
  return archive;
}

torch::serialize::InputArchive& operator>>(
    torch::serialize::InputArchive& archive, StatefulLR& scheduler) {
  scheduler.load(archive);
  return archive;
}

std::vector<std::string> StatefulLR::load(
    torch::serialize::InputArchive& archive, OptionsFrom from) {
  c10::IValue format;
  TORCH_CHECK(
      archive.try_read(kSchedulerFormatKey, format) && format.isInt(),
      kind_,
      ": the archive holds no scheduler of stepsize");
  TORCH_CHECK(
      format.toInt() == kFormat,
      kind_,
      ": the archive has format ",
      std::to_string(format.toInt()),
      ", this version reads format ",
      std::to_string(kFormat));
  const std::string fingerprint =
      detail::read_string(archive, kind_, "fingerprint");
  TORCH_CHECK(
      detail::read_string(archive, kind_, "kind") == kind_,
      kind_,
      ": the archive holds a ",
      fingerprint);
  torch::serialize::InputArchive list;
  const detail::NamedOptions saved =
      archive.try_read(kOptionsKey, list)
          ? detail::NamedOptions::read(list, kind_)
          : detail::NamedOptions::parse(fingerprint);
  auto differences = detail::option_differences(saved, *options_);
  const auto is_taken = [this](const detail::OptionDifference& difference) {
    return takes_option(
        difference.name, difference.saved ? &*difference.saved : nullptr);
  };
  differences.erase(
      std::remove_if(differences.begin(), differences.end(), is_taken),
      differences.end());
  TORCH_CHECK(
      differences.empty() || from != OptionsFrom::kMustAgree,
      kind_,
      ": ",
      detail::texts_of(differences));
  const std::string its_class =
      detail::read_string(archive, kind_, "state_class");
  TORCH_CHECK(
      its_class == state_class(),
      kind_,
      ": the archive was written by a ",
      its_class,
      ", this is a ",
      state_class());
  const int64_t epoch =
      detail::read_int(archive, kind_, "last_epoch", kLastTime);
  std::vector<double> lrs = detail::read_doubles(archive, kind_, "lrs");
  detail::check_finite(kind_, "lrs", lrs);
  const std::size_t groups = optimizer().param_groups().size();
  TORCH_CHECK(
      lrs.size() == groups,
      kind_,
      ": the archive has ",
      std::to_string(lrs.size()),
      " parameter groups, the optimizer ",
      std::to_string(groups));
  // Optimizer and scheduler may be loaded in any order: what was known of the
  // one's count goes with the other. Without it the next step finds it anew.
  std::optional<int64_t> skipped;
  c10::IValue skipped_there;
  if (follows_skipped_ && archive.try_read(kSkippedKey, skipped_there)) {
    skipped = detail::read_int(archive, kind_, kSkippedKey);
  }
  if (differences.empty()) {
    load_state(archive, lrs);
    commit(epoch, std::move(lrs));
  } else if (from == OptionsFrom::kProgram) {
    load_state_only(archive, saved, epoch, lrs);
    commit(epoch, lrs_in_force());
  } else {
    const auto put_back = keep_options();
    try {
      take_options(saved);
      load_state(archive, lrs);
    } catch (...) {
      put_back();
      throw;
    }
    commit(epoch, std::move(lrs));
  }
  skipped_ = skipped;
  std::vector<std::string> texts;
  for (const auto& difference : differences) texts.push_back(difference.text);
  return texts;
}

}  // namespace stepsize
