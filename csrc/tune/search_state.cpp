#include "csrc/tune/search_state.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace stepsize::detail {
namespace {

constexpr std::size_t kLeastOthers = 3;
constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

// The loss of the first report at a step or beyond it.
std::optional<double> loss_at(const SearchState::Repeat& repeat, int64_t step) {
  for (const auto& [at, loss] : repeat.reports) {
    if (at >= step) return loss;
  }
  return std::nullopt;
}

bool is_end_of(const std::string& status) {
  return status == "stopped" || status == "diverged";
}

}  // namespace

bool SearchState::Trial::is_done() const { return !status().empty(); }

std::string SearchState::Trial::status() const {
  for (const Repeat& repeat : repeats) {
    if (is_end_of(repeat.status)) return repeat.status;
  }
  for (const Repeat& repeat : repeats) {
    if (repeat.status.empty()) return "";
  }
  return "finished";
}

int64_t SearchState::Trial::finished_repeats() const {
  return std::count_if(
      repeats.begin(), repeats.end(), [](const Repeat& repeat) {
        return repeat.status == "finished";
      });
}

double SearchState::Trial::mean_loss() const {
  double sum = 0;
  for (const Repeat& repeat : repeats) {
    if (repeat.status == "finished") sum += repeat.loss;
  }
  const int64_t count = finished_repeats();
  return count == 0 ? kUnknown : sum / static_cast<double>(count);
}

double SearchState::Trial::loss_variance() const {
  const int64_t count = finished_repeats();
  if (count < 2) return kUnknown;
  const double mean = mean_loss();
  double squares = 0;
  for (const Repeat& repeat : repeats) {
    if (repeat.status == "finished") {
      squares += (repeat.loss - mean) * (repeat.loss - mean);
    }
  }
  return squares / static_cast<double>(count - 1);
}

int64_t SearchState::Trial::steps() const {
  int64_t most = 0;
  for (const Repeat& repeat : repeats) most = std::max(most, repeat.steps);
  return most;
}

bool SearchState::apply(const SearchRecord& record) {
  using Kind = SearchRecord::Kind;
  if (record.kind == Kind::kSearch) return false;
  const auto index = static_cast<std::size_t>(record.trial);
  if (record.kind == Kind::kStart) {
    if (index != trials_.size() || record.values.size() != numbers_) {
      return false;
    }
    Trial trial;
    trial.values = record.values;
    trial.repeats.resize(static_cast<std::size_t>(repeats_));
    trials_.push_back(std::move(trial));
    return true;
  }
  if (index >= trials_.size() || record.repeat >= repeats_) return false;
  Repeat& repeat =
      trials_[index].repeats[static_cast<std::size_t>(record.repeat)];
  if (!repeat.status.empty()) return false;
  if (record.kind == Kind::kReport) {
    // A process that goes on with a trial begins with it anew.
    auto& reports = repeat.reports;
    while (!reports.empty() && reports.back().first >= record.step) {
      reports.pop_back();
    }
    reports.emplace_back(record.step, record.loss);
    return true;
  }
  // A loss that is no number is no end of a run that has gone well.
  if (record.status == "finished" && !std::isfinite(record.loss)) return false;
  repeat.status = record.status;
  repeat.loss = record.loss;
  repeat.steps = record.step;
  if (record.status == "finished") longest_ = std::max(longest_, record.step);
  return true;
}

bool SearchState::goes_on(
    int64_t trial,
    int64_t repeat,
    int64_t step,
    double loss,
    double factor) const {
  const auto its_repeat = static_cast<std::size_t>(repeat);
  const auto& before =
      trials_[static_cast<std::size_t>(trial)].repeats[its_repeat].reports;
  int64_t last = -1;
  for (const auto& [at, value] : before) {
    if (at < step) last = at;
  }
  const auto longest = static_cast<double>(longest_);
  for (const double rung :
       std::array<double, 2>{longest / (factor * factor), longest / factor}) {
    const auto at = static_cast<int64_t>(std::ceil(rung));
    if (at < 1 || step < at || last >= at) continue;
    std::size_t others = 0;
    std::size_t better = 0;
    for (std::size_t i = 0; i < trials_.size(); ++i) {
      if (static_cast<int64_t>(i) == trial) continue;
      const auto other = loss_at(trials_[i].repeats[its_repeat], at);
      if (!other) continue;
      ++others;
      better += *other < loss ? 1 : 0;
    }
    if (others < kLeastOthers) continue;
    const auto kept = std::ceil(static_cast<double>(others + 1) / factor);
    if (static_cast<double>(better) >= kept) return false;
  }
  return true;
}

double SearchState::stopped_loss(int64_t trial) const {
  const Trial& stopped = trials_[static_cast<std::size_t>(trial)];
  for (std::size_t r = 0; r < stopped.repeats.size(); ++r) {
    const Repeat& repeat = stopped.repeats[r];
    if (repeat.status != "stopped" || repeat.reports.empty()) continue;
    const auto [step, loss] = repeat.reports.back();
    double worst = loss;
    for (const Trial& other : trials_) {
      if (other.status() != "finished") continue;
      const auto there = loss_at(other.repeats[r], step);
      if (there && *there < loss) worst = std::max(worst, other.mean_loss());
    }
    return worst;
  }
  return kUnknown;
}

}  // namespace stepsize::detail
