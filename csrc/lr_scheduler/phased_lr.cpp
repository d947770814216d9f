#include <stepsize/lr_scheduler/phased_lr.h>

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "csrc/core/archive.h"
#include "csrc/lr_scheduler/group_writes.h"
#include "csrc/lr_scheduler/option_text.h"
#include "csrc/lr_scheduler/options_of_list.h"
#include "csrc/lr_scheduler/plateau_rule.h"
#include "csrc/lr_scheduler/usage_watch.h"
#include "csrc/text/number.h"

namespace stepsize {
namespace {

constexpr char kPhasedLR[] = "PhasedLR";
constexpr char kPlateauPhase[] = "PlateauPhase";
// Cuts are made again one by one when a state is loaded, so that a file with a
// huge number of them would keep the program busy.
constexpr int64_t kMostCuts = 1000000;

std::string phase_name(std::size_t index) {
  return std::string(kPhasedLR) + ": phase " + std::to_string(index);
}

// Steps after which time ends a phase.
double length_of(const LRPhase& phase) {
  if (const auto* schedule = std::get_if<Schedule>(&phase)) {
    return std::ceil(schedule->length());
  }
  const auto& steps = std::get<PlateauPhase>(phase).steps();
  return steps ? static_cast<double>(*steps)
               : std::numeric_limits<double>::infinity();
}

int64_t most_cuts(const PlateauPhase& phase) {
  return phase.cuts().value_or(kMostCuts);
}

// Whether a phase before the last is passed over: its options give it no step.
bool is_left_out(const LRPhase& phase) { return length_of(phase) == 0; }

// The schedule at whose end the plateau `index` begins; null where there is
// none, but another plateau or the start of the run.
const Schedule* schedule_before(
    const std::vector<LRPhase>& phases, std::size_t index) {
  while (index > 0 && is_left_out(phases[index - 1])) --index;
  return index > 0 ? std::get_if<Schedule>(&phases[index - 1]) : nullptr;
}

detail::NamedOptions options_of_phases(const std::vector<LRPhase>& phases) {
  TORCH_CHECK(!phases.empty(), kPhasedLR, ": there must be one phase at least");
  std::vector<detail::NamedOptions> parts;
  for (std::size_t i = 0; i < phases.size(); ++i) {
    const auto* plateau = std::get_if<PlateauPhase>(&phases[i]);
    parts.push_back(
        plateau != nullptr ? plateau->options()
                           : LRRule(std::get<Schedule>(phases[i])).options());
    const bool metric_ends = plateau != nullptr && plateau->cuts();
    TORCH_CHECK(
        i + 1 == phases.size() || metric_ends ||
            std::isfinite(length_of(phases[i])),
        phase_name(i),
        " has no end, so that nothing can follow it: ",
        parts.back().text(),
        plateau != nullptr ? "; give it steps() or cuts()"
                           : "; cut it with limit()");
    const bool is_played = i + 1 == phases.size() || !is_left_out(phases[i]);
    const Schedule* const before =
        plateau != nullptr && is_played ? schedule_before(phases, i) : nullptr;
    TORCH_CHECK(
        before == nullptr || (*before)(std::ceil(before->length())) != 0,
        phase_name(i),
        ", a plateau, begins at the rate at which the schedule before it ends, "
        "and that is 0");
  }
  return detail::OptionText(kPhasedLR)
      .add_parts("phases", std::move(parts))
      .list();
}

}  // namespace

detail::NamedOptions PlateauPhase::options() const {
  detail::NamedOptions list(kPlateauPhase);
  const detail::NamedOptions rule = rule_.options();
  for (const auto& option : rule.options()) {
    list.add(option.name, option.value, option.before);
  }
  if (steps_) {
    detail::check_option(*steps_ >= 0, kPlateauPhase, "steps", ">= 0", *steps_);
    list.add("steps", detail::option_text(*steps_));
  }
  if (cuts_) {
    detail::check_option(
        *cuts_ >= 0 && *cuts_ <= kMostCuts,
        kPlateauPhase,
        "cuts",
        "in [0, 1000000]",
        *cuts_);
    list.add("cuts", detail::option_text(*cuts_));
  }
  return list;
}

PhasedLR::PhasedLR(
    torch::optim::Optimizer& optimizer, std::vector<LRPhase> phases)
    : StatefulLR(optimizer, options_of_phases(phases)),
      phases_(std::move(phases)) {
  for (const LRPhase& phase : phases_) {
    const auto* plateau = std::get_if<PlateauPhase>(&phase);
    if (plateau == nullptr || !plateau->rule().min_lr().is_list()) continue;
    detail::check_list_length(
        kPhasedLR,
        "min_lr",
        plateau->rule().min_lr().values().size(),
        static_cast<int64_t>(optimizer.param_groups().size()));
  }
  Progress first;
  first.starts.clear();
  first.plateaus.clear();
  first.by_hand.clear();
  begin_phase(first, 0);
  advance(first, 0);
  Plan start = plan(first, 0, {}, lrs_in_force(), false);
  watch_ = std::make_unique<detail::UsageWatch>(optimizer, kind(), base_lrs_);
  watch_->before_base_rates(start.base_lrs);
  take_over(0, std::move(first), std::move(start));
}

PhasedLR::PhasedLR(
    torch::optim::Optimizer& optimizer,
    const std::string& text,
    const ParseContext& context)
    : PhasedLR(optimizer, parse_phases(text, context)) {}

PhasedLR::~PhasedLR() = default;

bool PhasedLR::is_over(const Progress& progress, int64_t t) const {
  const LRPhase& phase = phases_[progress.starts.size() - 1];
  const auto* plateau = std::get_if<PlateauPhase>(&phase);
  return static_cast<double>(t - progress.starts.back()) >= length_of(phase) ||
         (plateau != nullptr && progress.plateaus.back() > most_cuts(*plateau));
}

bool PhasedLR::has_ended(const Progress& progress, int64_t t) const {
  return progress.starts.size() == phases_.size() && is_over(progress, t);
}

bool PhasedLR::has_ended() const { return has_ended(progress_, last_epoch()); }

void PhasedLR::begin_phase(Progress& progress, int64_t t) const {
  progress.starts.push_back(t);
  progress.plateaus.push_back(0);
  progress.by_hand.push_back(0);
  const auto* plateau =
      std::get_if<PlateauPhase>(&phases_[progress.starts.size() - 1]);
  progress.best = detail::worst_metric(
      plateau != nullptr ? plateau->rule().mode() : MetricMode::kMin);
  progress.bad = 0;
  progress.cooldown = 0;
}

void PhasedLR::advance(Progress& progress, int64_t t) const {
  while (progress.starts.size() < phases_.size() && is_over(progress, t)) {
    begin_phase(progress, t);
  }
}

int64_t PhasedLR::cuts() const {
  const auto* plateau = std::get_if<PlateauPhase>(&phases_[phase()]);
  return plateau == nullptr
             ? 0
             : std::min(progress_.plateaus.back(), most_cuts(*plateau));
}

double PhasedLR::level(
    const Progress& progress, std::size_t group, double base_lr) const {
  double level = base_lr;
  double held = 1;
  for (std::size_t i = 0; i < progress.starts.size(); ++i) {
    const bool is_present = i + 1 == progress.starts.size();
    // A phase without a step neither begins at the rate of the one before nor
    // leaves a rate to the next.
    if (!is_present && is_left_out(phases_[i])) continue;
    if (const auto* schedule = std::get_if<Schedule>(&phases_[i])) {
      if (is_present) continue;
      // Where time has ended it, at its own end: a state may be of a run in
      // which this phase was shorter or longer.
      held = (*schedule)(
          progress.by_hand[i] != 0
              ? static_cast<double>(progress.starts[i + 1] - progress.starts[i])
              : length_of(phases_[i]));
      continue;
    }
    const auto& plateau = std::get<PlateauPhase>(phases_[i]);
    TORCH_CHECK(
        held != 0,
        phase_name(i),
        ", a plateau, would begin at 0, the rate at which the schedule before "
        "it was ended, and all rates would be 0 from there on");
    level *= held;
    held = 1;
    const int64_t cuts = std::min(progress.plateaus[i], most_cuts(plateau));
    for (int64_t cut = 0; cut < cuts; ++cut) {
      const double lower =
          detail::cut_lr(plateau.rule(), static_cast<int64_t>(group), level);
      if (lower == level) break;
      level = lower;
    }
  }
  return level;
}

PhasedLR::Plan PhasedLR::plan(
    const Progress& progress,
    int64_t t,
    const std::vector<double>& base_lrs,
    const std::vector<double>& in_force,
    bool leaves_alone) const {
  TORCH_CHECK(
      in_force.size() >= base_lrs.size(),
      kPhasedLR,
      ": the optimizer must keep its ",
      std::to_string(base_lrs.size()),
      " parameter groups, got ",
      std::to_string(in_force.size()));
  const auto* schedule =
      std::get_if<Schedule>(&phases_[progress.starts.size() - 1]);
  const double factor =
      schedule == nullptr
          ? 1.0
          : (*schedule)(static_cast<double>(t - progress.starts.back()));
  const bool same = &base_lrs == &base_lrs_ &&
                    progress.starts == progress_.starts &&
                    progress.plateaus == progress_.plateaus &&
                    progress.by_hand == progress_.by_hand;
  Plan plan{base_lrs, {}, {}};
  for (std::size_t i = 0; i < in_force.size(); ++i) {
    const bool joins = i >= base_lrs.size();
    if (joins) plan.base_lrs.push_back(in_force[i]);
    plan.levels.push_back(
        same && i < levels_.size() ? levels_[i]
                                   : level(progress, i, plan.base_lrs[i]));
    const double lr =
        leaves_alone && !joins ? in_force[i] : plan.levels[i] * factor;
    TORCH_CHECK(
        std::isfinite(lr) && lr >= 0,
        kPhasedLR,
        ": the rate of parameter group ",
        std::to_string(i),
        " at t = ",
        std::to_string(t),
        " must be finite and >= 0, got ",
        detail::number_text(lr));
    plan.lrs.push_back(lr);
  }
  return plan;
}

void PhasedLR::take_over(int64_t t, Progress progress, Plan plan) {
  detail::GroupWrites writes(optimizer());
  writes.set_lrs(plan.lrs);
  writes.keep();
  progress_ = std::move(progress);
  base_lrs_ = std::move(plan.base_lrs);
  levels_ = std::move(plan.levels);
  commit(t, std::move(plan.lrs));
  watch_->set(get_last_lr(), lrs_in_force(), has_ended());
}

std::vector<double> PhasedLR::get_lrs() {
  if (follows_a_skipped_step()) return lrs_in_force();
  const int64_t t = next_epoch();
  const std::vector<double> in_force = lrs_in_force();
  const bool rests = has_ended();
  Progress progress = progress_;
  advance(progress, t);
  Plan next = plan(progress, t, base_lrs_, in_force, rests);
  watch_->before_step(!rests, in_force);
  take_over(t, std::move(progress), std::move(next));
  return get_last_lr();
}

void PhasedLR::observe(double metric) {
  const auto* plateau = std::get_if<PlateauPhase>(&phases_[phase()]);
  if (plateau == nullptr || is_over(progress_, last_epoch())) return;
  Progress progress = progress_;
  detail::PlateauCounters counters{
      progress.best, progress.bad, progress.cooldown};
  const bool found = detail::finds_plateau(plateau->rule(), metric, counters);
  progress.best = counters.best;
  progress.bad = counters.bad;
  progress.cooldown = counters.cooldown;
  if (!found) {
    progress_ = std::move(progress);
    return;
  }
  const int64_t most = plateau->cuts() ? *plateau->cuts() + 1 : kMostCuts;
  progress.plateaus.back() = std::min(progress.plateaus.back() + 1, most);
  change_now(std::move(progress));
}

void PhasedLR::change_now(Progress progress) {
  const std::vector<double> in_force = lrs_in_force();
  advance(progress, last_epoch());
  Plan next = plan(progress, last_epoch(), base_lrs_, in_force, false);
  watch_->before_rates(in_force);
  take_over(last_epoch(), std::move(progress), std::move(next));
}

void PhasedLR::next_phase() {
  TORCH_CHECK(
      phase() + 1 < phases_.size(),
      kPhasedLR,
      ": next_phase: phase ",
      std::to_string(phase()),
      " is the last one");
  Progress progress = progress_;
  progress.by_hand.back() = 1;
  begin_phase(progress, last_epoch());
  change_now(std::move(progress));
}

void PhasedLR::set_base_lrs(const PerGroup& base_lrs) {
  const std::vector<double> lrs = checked_base_lrs(base_lrs);
  take_over(
      last_epoch(), progress_, plan(progress_, last_epoch(), lrs, lrs, false));
}

void PhasedLR::save_state(torch::serialize::OutputArchive& archive) const {
  const auto doubles = [](const std::vector<int64_t>& values) {
    return std::vector<double>(values.begin(), values.end());
  };
  detail::write_doubles(archive, "base_lrs", base_lrs_);
  detail::write_doubles(archive, "phase_starts", doubles(progress_.starts));
  detail::write_doubles(archive, "plateaus", doubles(progress_.plateaus));
  detail::write_doubles(archive, "ended_by_hand", doubles(progress_.by_hand));
  detail::write_double(archive, "best", progress_.best);
  detail::write_int(archive, "num_bad_epochs", progress_.bad);
  detail::write_int(archive, "cooldown_counter", progress_.cooldown);
}

PhasedLR::Progress PhasedLR::read_progress(
    torch::serialize::InputArchive& archive, std::size_t phases) const {
  const auto counts = [&](const char* key, double most) {
    const auto values = detail::read_doubles(archive, kPhasedLR, key);
    const bool valid =
        !values.empty() && values.size() <= phases &&
        std::all_of(values.begin(), values.end(), [most](double value) {
          return value >= 0 && value <= most && value == std::floor(value);
        });
    TORCH_CHECK(
        valid, kPhasedLR, ": '", key, "' of the archive do not fit its phases");
    return std::vector<int64_t>(values.begin(), values.end());
  };
  const int64_t epoch =
      detail::read_int(archive, kPhasedLR, "last_epoch", kLastTime);
  Progress progress;
  progress.starts = counts("phase_starts", static_cast<double>(epoch));
  progress.plateaus = counts("plateaus", static_cast<double>(kMostCuts + 1));
  progress.by_hand = counts("ended_by_hand", 1);
  TORCH_CHECK(
      progress.starts.size() == progress.plateaus.size() &&
          progress.starts.size() == progress.by_hand.size() &&
          progress.starts.front() == 0 &&
          std::is_sorted(progress.starts.begin(), progress.starts.end()),
      kPhasedLR,
      ": 'phase_starts' of the archive are no times of phases");
  progress.best = detail::read_double(archive, kPhasedLR, "best");
  detail::check_option(
      !std::isnan(progress.best),
      kPhasedLR,
      "'best' of the archive",
      "a number",
      progress.best);
  progress.bad =
      detail::read_int(archive, kPhasedLR, "num_bad_epochs", kLastTime);
  progress.cooldown =
      detail::read_int(archive, kPhasedLR, "cooldown_counter", kLastTime);
  // What other options have counted further counts as far as it can here.
  const auto* plateau =
      std::get_if<PlateauPhase>(&phases_[progress.starts.size() - 1]);
  progress.bad = std::min(
      progress.bad, plateau != nullptr ? plateau->rule().patience() : 0);
  progress.cooldown = std::min(
      progress.cooldown, plateau != nullptr ? plateau->rule().cooldown() : 0);
  return progress;
}

std::vector<double> PhasedLR::read_base_lrs(
    torch::serialize::InputArchive& archive, std::size_t groups) const {
  auto base_lrs = detail::read_doubles(archive, kPhasedLR, "base_lrs");
  detail::check_finite(kPhasedLR, "base_lrs", base_lrs);
  TORCH_CHECK(
      base_lrs.size() <= groups,
      kPhasedLR,
      ": 'base_lrs' of the archive has ",
      std::to_string(base_lrs.size()),
      " values for ",
      std::to_string(groups),
      " parameter groups");
  return base_lrs;
}

void PhasedLR::load_state(
    torch::serialize::InputArchive& archive, const std::vector<double>& lrs) {
  auto base_lrs = read_base_lrs(archive, lrs.size());
  Progress progress = read_progress(archive, phases_.size());
  std::vector<double> levels;
  for (std::size_t i = 0; i < base_lrs.size(); ++i) {
    levels.push_back(level(progress, i, base_lrs[i]));
  }
  detail::GroupWrites writes(optimizer());
  writes.set_lrs(lrs);
  writes.keep();
  progress_ = std::move(progress);
  base_lrs_ = std::move(base_lrs);
  levels_ = std::move(levels);
  const int64_t epoch =
      detail::read_int(archive, kPhasedLR, "last_epoch", kLastTime);
  watch_->set(lrs, lrs_in_force(), has_ended(progress_, epoch));
  watch_->stop_counting();
}

void PhasedLR::load_state_only(
    torch::serialize::InputArchive& archive,
    const detail::NamedOptions& saved,
    int64_t epoch,
    const std::vector<double>& lrs) {
  const auto* parts = saved.find("phases");
  TORCH_CHECK(
      parts != nullptr, kPhasedLR, ": the archive has no list of phases");
  const auto base_lrs = read_base_lrs(archive, lrs.size());
  Progress progress = read_progress(archive, phases_.size());
  for (std::size_t i = 0; i < progress.starts.size(); ++i) {
    const auto* plateau = std::get_if<PlateauPhase>(&phases_[i]);
    const bool is_there = i < parts->parts.size();
    const auto* mode = is_there ? parts->parts[i].find("mode") : nullptr;
    TORCH_CHECK(
        is_there && (mode != nullptr) == (plateau != nullptr),
        phase_name(i),
        " is ",
        plateau != nullptr ? "a plateau here, and not" : "a schedule here, and",
        plateau != nullptr ? " in the file" : " a plateau in the file",
        ", which has begun it");
    TORCH_CHECK(
        plateau == nullptr ||
            mode->value == detail::text_of(plateau->rule().mode()),
        phase_name(i),
        ": mode is another in the file, whose metrics say nothing here");
  }
  // The rates by the program's options. Where these make the present phase
  // shorter than what was played of it, it ends with the next step.
  take_over(epoch, progress, plan(progress, epoch, base_lrs, lrs, false));
  watch_->stop_counting();
}

void PhasedLR::take_options(const detail::NamedOptions& options) {
  auto taken = detail::phases_of(options, phases_);
  const auto list = options_of_phases(taken);
  set_options(list);
  phases_ = std::move(taken);
}

std::function<void()> PhasedLR::keep_options() {
  return [this, phases = phases_, options = StatefulLR::keep_options()] {
    phases_ = phases;
    options();
  };
}

}  // namespace stepsize
