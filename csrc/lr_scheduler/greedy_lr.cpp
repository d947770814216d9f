#include <stepsize/lr_scheduler/greedy_lr.h>

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
#include "csrc/lr_scheduler/usage_watch.h"
#include "csrc/state/metric_order.h"

namespace stepsize {
namespace {

constexpr char kGreedyLR[] = "GreedyLR";

}  // namespace

std::string GreedyLROptions::describe() const { return options().text(); }

detail::NamedOptions GreedyLROptions::options() const {
  using detail::check_option;
  check_option(
      factor_ > 0 && factor_ < 1, kGreedyLR, "factor", "in (0, 1)", factor_);
  check_option(patience_ >= 0, kGreedyLR, "patience", ">= 0", patience_);
  detail::check_rates(kGreedyLR, "threshold", threshold_);
  check_option(
      mode_ != MetricMode::kMin || threshold_mode_ == ThresholdMode::kAbs ||
          threshold_ < 1,
      kGreedyLR,
      "threshold",
      "below 1 where it is relative and the mode is kMin",
      threshold_);
  check_option(cooldown_ >= 0, kGreedyLR, "cooldown", ">= 0", cooldown_);
  check_option(warmup_ >= 0, kGreedyLR, "warmup", ">= 0", warmup_);
  check_option(window_ >= 1, kGreedyLR, "window", ">= 1", window_);
  detail::check_rates(kGreedyLR, "min_lr", min_lr_);
  detail::check_rates(kGreedyLR, "max_lr", max_lr_);
  detail::check_rates(kGreedyLR, "eps", eps_);
  return detail::OptionText(kGreedyLR)
      .add("mode", detail::text_of(mode_))
      .add("factor", factor_)
      .add("patience", patience_)
      .add("threshold", threshold_)
      .add("threshold_mode", detail::text_of(threshold_mode_))
      .add("cooldown", cooldown_)
      .add("warmup", warmup_)
      .add("window", window_)
      .add("min_lr", min_lr_)
      .add("max_lr", max_lr_)
      .add("eps", eps_)
      .list();
}

GreedyLR::GreedyLR(
    torch::optim::Optimizer& optimizer, const GreedyLROptions& options)
    : StatefulLR(optimizer, options.options()),
      options_(options),
      best_(detail::worst_metric(options.mode())) {
  const auto check_entries = [&](const char* name, const PerGroup& limit) {
    if (!limit.is_list()) return;
    detail::check_list_length(
        kGreedyLR,
        name,
        limit.values().size(),
        static_cast<int64_t>(optimizer.param_groups().size()));
  };
  check_entries("min_lr", options_.min_lr());
  check_entries("max_lr", options_.max_lr());
  commit(0, lrs_in_force());
}

std::vector<double> GreedyLR::get_lrs() {
  commit(next_epoch(), lrs_in_force());
  return get_last_lr();
}

void GreedyLR::step(double metric) {
  const int64_t epoch = next_epoch();
  std::vector<double> recent = recent_;
  recent.push_back(metric);
  if (static_cast<int64_t>(recent.size()) > options_.window()) {
    recent.erase(recent.begin());
  }
  // Added up anew: of a running sum a NaN would never leave.
  double mean = 0;
  for (const double one : recent) mean += one;
  mean /= static_cast<double>(recent.size());

  Counts counts = counts_;
  double best = best_;
  bool up = false;
  bool down = false;
  if (counts.cooldown > 0) {
    counts = {0, 0, counts.cooldown - 1, counts.warmup};
  } else if (counts.warmup > 0) {
    counts = {0, 0, 0, counts.warmup - 1};
  } else {
    const double limit = detail::metric_limit(
        options_.mode(), options_.threshold_mode(), options_.threshold(), best);
    const bool better = detail::is_better(options_.mode(), mean, limit);
    if (better) best = mean;
    counts.good = better ? counts.good + 1 : 0;
    counts.bad = better ? 0 : counts.bad + 1;
    up = counts.good > options_.patience();
    down = counts.bad > options_.patience();
    if (up) counts = {0, counts.bad, 0, options_.warmup()};
    if (down) counts = {counts.good, 0, options_.cooldown(), 0};
  }
  detail::GroupWrites writes(optimizer());
  if (up || down) {
    writes.set_lrs(changed_lrs(up));
    detail::UsageWatch::note_cut(optimizer());
  }
  commit(epoch, lrs_in_force());
  best_ = best;
  counts_ = counts;
  recent_ = std::move(recent);
  writes.keep();
}

std::vector<double> GreedyLR::changed_lrs(bool up) const {
  std::vector<double> lrs = lrs_in_force();
  for (std::size_t i = 0; i < lrs.size(); ++i) {
    const auto group = static_cast<int64_t>(i);
    const double lr =
        up ? std::min(lrs[i] / options_.factor(), options_.max_lr()[group])
           : std::max(lrs[i] * options_.factor(), options_.min_lr()[group]);
    const double change = up ? lr - lrs[i] : lrs[i] - lr;
    if (change > options_.eps()) lrs[i] = lr;
  }
  return lrs;
}

void GreedyLR::save_state(torch::serialize::OutputArchive& archive) const {
  detail::write_double(archive, "best", best_);
  detail::write_int(archive, "num_good_epochs", counts_.good);
  detail::write_int(archive, "num_bad_epochs", counts_.bad);
  detail::write_int(archive, "cooldown_counter", counts_.cooldown);
  detail::write_int(archive, "warmup_counter", counts_.warmup);
  detail::write_doubles(archive, "recent", recent_);
}

void GreedyLR::load_state(
    torch::serialize::InputArchive& archive, const std::vector<double>& lrs) {
  const double best = detail::read_double(archive, kGreedyLR, "best");
  detail::check_option(
      !std::isnan(best), kGreedyLR, "'best' of the archive", "a number", best);
  const auto count = [&archive](const char* name, int64_t most) {
    return std::min(
        detail::read_int(archive, kGreedyLR, name, kLastTime), most);
  };
  // What other options have counted further counts as far as it can here.
  Counts counts;
  counts.good = count("num_good_epochs", options_.patience());
  counts.bad = count("num_bad_epochs", options_.patience());
  counts.cooldown = count("cooldown_counter", options_.cooldown());
  counts.warmup = count("warmup_counter", options_.warmup());
  auto recent = detail::read_doubles(archive, kGreedyLR, "recent");
  const auto most = static_cast<std::size_t>(options_.window());
  if (recent.size() > most) {
    recent.erase(
        recent.begin(),
        recent.end() - static_cast<std::ptrdiff_t>(options_.window()));
  }
  detail::GroupWrites writes(optimizer());
  writes.set_lrs(lrs);
  writes.keep();
  best_ = best;
  counts_ = counts;
  recent_ = std::move(recent);
}

void GreedyLR::load_state_only(
    torch::serialize::InputArchive& archive,
    const detail::NamedOptions& saved,
    int64_t /*epoch*/,
    const std::vector<double>& lrs) {
  TORCH_CHECK(
      detail::greedy_of(saved).mode() == options_.mode(),
      kGreedyLR,
      ": mode is another in the file, whose best metric says nothing here");
  load_state(archive, lrs);
}

void GreedyLR::take_options(const detail::NamedOptions& options) {
  auto taken = detail::greedy_of(options);
  set_options(taken.options());
  options_ = std::move(taken);
}

std::function<void()> GreedyLR::keep_options() {
  return [this, mine = options_, options = StatefulLR::keep_options()] {
    options_ = mine;
    options();
  };
}

}  // namespace stepsize
