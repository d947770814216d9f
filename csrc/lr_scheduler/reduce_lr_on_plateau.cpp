#include <stepsize/lr_scheduler/reduce_lr_on_plateau.h>

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/lr_scheduler/group_writes.h"
#include "csrc/lr_scheduler/metric_limit.h"
#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/options_of_list.h"
#include "csrc/lr_scheduler/plateau_rule.h"
#include "csrc/lr_scheduler/usage_watch.h"
#include "csrc/state/metric_order.h"

namespace stepsize {
namespace {

constexpr char kReduceLROnPlateau[] = "ReduceLROnPlateau";

}  // namespace

std::string ReduceLROnPlateauOptions::describe() const {
  return options().text();
}

detail::NamedOptions ReduceLROnPlateauOptions::options() const {
  using detail::check_option;
  check_option(
      factor_ >= 0 && factor_ < 1,
      kReduceLROnPlateau,
      "factor",
      "in [0, 1)",
      factor_);
  check_option(
      patience_ >= 0, kReduceLROnPlateau, "patience", ">= 0", patience_);
  detail::check_rates(kReduceLROnPlateau, "threshold", threshold_);
  const bool is_min = mode_ == MetricMode::kMin;
  const bool is_rel = threshold_mode_ != ThresholdMode::kAbs;
  check_option(
      !(is_min && is_rel) || threshold_ < 1,
      kReduceLROnPlateau,
      "threshold",
      "below 1 where it is relative and the mode is kMin",
      threshold_);
  check_option(
      cooldown_ >= 0, kReduceLROnPlateau, "cooldown", ">= 0", cooldown_);
  detail::check_rates(kReduceLROnPlateau, "min_lr", min_lr_);
  detail::check_rates(kReduceLROnPlateau, "eps", eps_);
  return detail::OptionText(kReduceLROnPlateau)
      .add("mode", detail::text_of(mode_), "min")
      .add("factor", factor_, 0.1)
      .add("patience", patience_, 10)
      .add("threshold", threshold_, 1e-4)
      .add("threshold_mode", detail::text_of(threshold_mode_), "rel")
      .add("cooldown", cooldown_, 0)
      .add("min_lr", min_lr_, 0.0)
      .add("eps", eps_, 1e-8)
      .list();
}

ReduceLROnPlateau::ReduceLROnPlateau(
    torch::optim::Optimizer& optimizer, const ReduceLROnPlateauOptions& options)
    : StatefulLR(optimizer, options.options()),
      options_(options),
      best_(detail::worst_metric(options.mode())) {
  if (options_.min_lr().is_list()) {
    detail::check_list_length(
        kReduceLROnPlateau,
        "min_lr",
        options_.min_lr().values().size(),
        static_cast<int64_t>(optimizer.param_groups().size()));
  }
  commit(0, lrs_in_force());
}

std::vector<double> ReduceLROnPlateau::get_lrs() {
  commit(next_epoch(), lrs_in_force());
  return get_last_lr();
}

void ReduceLROnPlateau::step(double metric) {
  const int64_t epoch = next_epoch();
  detail::PlateauCounters counters{best_, num_bad_epochs_, cooldown_counter_};
  detail::GroupWrites writes(optimizer());
  if (detail::finds_plateau(options_, metric, counters)) {
    writes.set_lrs(cut_lrs());
    detail::UsageWatch::note_cut(optimizer());
  }
  commit(epoch, lrs_in_force());
  best_ = counters.best;
  num_bad_epochs_ = counters.bad;
  cooldown_counter_ = counters.cooldown;
  writes.keep();
}

std::vector<double> ReduceLROnPlateau::cut_lrs() const {
  std::vector<double> lrs = lrs_in_force();
  for (std::size_t i = 0; i < lrs.size(); ++i) {
    lrs[i] = detail::cut_lr(options_, static_cast<int64_t>(i), lrs[i]);
  }
  return lrs;
}

// What 0.1 has saved as "rel" was Python's.
bool ReduceLROnPlateau::takes_option(
    const std::string& name, const std::string* saved) const {
  return name == "threshold_mode" && saved != nullptr && *saved == "rel" &&
         options_.threshold_mode() == ThresholdMode::kPythonRel;
}

void ReduceLROnPlateau::save_state(
    torch::serialize::OutputArchive& archive) const {
  detail::write_double(archive, "best", best_);
  detail::write_int(archive, "num_bad_epochs", num_bad_epochs_);
  detail::write_int(archive, "cooldown_counter", cooldown_counter_);
}

void ReduceLROnPlateau::load_state(
    torch::serialize::InputArchive& archive, const std::vector<double>& lrs) {
  load_state(archive, lrs, /*of_other_options=*/false);
}

void ReduceLROnPlateau::load_state_only(
    torch::serialize::InputArchive& archive,
    const detail::NamedOptions& saved,
    int64_t /*epoch*/,
    const std::vector<double>& lrs) {
  TORCH_CHECK(
      detail::plateau_of(saved).mode() == options_.mode(),
      kReduceLROnPlateau,
      ": mode is another in the file, whose best metric says nothing here");
  load_state(archive, lrs, /*of_other_options=*/true);
}

void ReduceLROnPlateau::load_state(
    torch::serialize::InputArchive& archive,
    const std::vector<double>& lrs,
    bool of_other_options) {
  const double best = detail::read_double(archive, kReduceLROnPlateau, "best");
  const int64_t bad = detail::read_int(
      archive,
      kReduceLROnPlateau,
      "num_bad_epochs",
      of_other_options ? kLastTime : std::min(options_.patience(), kLastTime));
  const int64_t cooldown = detail::read_int(
      archive,
      kReduceLROnPlateau,
      "cooldown_counter",
      of_other_options ? kLastTime : options_.cooldown());
  detail::check_option(
      !std::isnan(best),
      kReduceLROnPlateau,
      "'best' of the archive",
      "a number",
      best);
  detail::GroupWrites writes(optimizer());
  writes.set_lrs(lrs);
  writes.keep();
  best_ = best;
  num_bad_epochs_ = std::min(bad, options_.patience());
  cooldown_counter_ = std::min(cooldown, options_.cooldown());
}

void ReduceLROnPlateau::take_options(const detail::NamedOptions& options) {
  auto taken = detail::plateau_of(options);
  set_options(taken.options());
  options_ = std::move(taken);
}

std::function<void()> ReduceLROnPlateau::keep_options() {
  return [this, mine = options_, options = StatefulLR::keep_options()] {
    options_ = mine;
    options();
  };
}

}  // namespace stepsize
