#include <stepsize/optim/growth_trend.h>

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <limits>
#include <string>
#include <utility>

#include "csrc/core/check.h"

namespace stepsize {
namespace {

constexpr char kGrowthTrend[] = "GrowthTrend";

constexpr int kWindows = GrowthTrend::kWindows;
constexpr int64_t kSteps = GrowthTrend::kSteps;
constexpr double kStandardErrors = 6;
// Growth of the second half over that of the first. A norm that grows in
// proportion to the step, by 3 in all, is at 0.65, and a sine is below.
constexpr double kSteady = 0.75;
constexpr double kGivenBack = 0.5;
constexpr double kFarUp = 100;
// Twelve of the longest windows are 2.6e10 steps.
constexpr std::size_t kMostLevels = 30;
constexpr std::size_t kHead = 3;
constexpr std::size_t kNumbersOfLevel = 2 * kWindows + 1;

int64_t windows_of(int64_t steps, std::size_t level) {
  return steps / kSteps >> level;
}

void push(std::array<double, kWindows>& values, double value) {
  std::move(values.begin() + 1, values.end(), values.begin());
  values.back() = value;
}

double mean_of_last_two(const std::array<double, kWindows>& values) {
  return values[kWindows - 2] / 2 + values[kWindows - 1] / 2;
}

// The mean of the steps between neighbours is what noise that wanders, as the
// iterate of stochastic descent does, leaves at 0: the steps of a random walk
// are independent, and those of anything that returns to its mean weigh less.
bool rises_beyond_noise(const std::array<double, kWindows>& values) {
  constexpr int kCount = kWindows - 1;
  const double mean = (values.back() - values.front()) / kCount;
  double squares = 0;
  for (int i = 1; i < kWindows; ++i) {
    const double difference = values[i] - values[i - 1] - mean;
    squares += difference * difference;
  }
  const double error = std::sqrt(squares / (kCount - 1) / kCount);
  return mean >= kStandardErrors * error;
}

bool goes_on_growing(const std::array<double, kWindows>& values) {
  const double middle = (values[kWindows / 2 - 1] + values[kWindows / 2]) / 2;
  return values.back() - middle >= kSteady * (middle - values.front());
}

}  // namespace

bool GrowthTrend::grows(const Level& level, double ratio, double blind_ratio) {
  const auto& norms = level.log_norms;
  const auto& losses = level.losses;
  const double growth = norms.back() - norms.front();
  if (!(growth >= std::log(ratio)) || !rises_beyond_noise(norms) ||
      !goes_on_growing(norms)) {
    return false;
  }
  if (std::any_of(losses.begin(), losses.end(), [](double loss) {
        return std::isnan(loss);
      })) {
    return growth >= std::log(blind_ratio);
  }
  for (int i = 1; i < kWindows; ++i) {
    if (!(losses[i] > losses[i - 1])) return false;
  }
  const double first = losses.front();
  return losses.back() - first >= kGivenBack * (level.highest_loss - first) ||
         (first >= 0 && losses.back() / kFarUp >= first);
}

int64_t GrowthTrend::add(
    double norm, double loss, double ratio, double blind_ratio) {
  if (!(norm > 0) || !std::isfinite(norm)) return 0;
  // Differences and sums of such losses are finite.
  constexpr double kMost = std::numeric_limits<double>::max() / 4;
  const double bounded =
      std::isnan(loss) ? loss : std::clamp(loss, -kMost, kMost);
  const auto place = static_cast<double>(steps_ % kSteps + 1);
  if (steps_ % kSteps == 0) {
    log_norm_ = 0;
    loss_ = 0;
  }
  log_norm_ += (std::log(norm) - log_norm_) / place;
  loss_ += bounded / place - loss_ / place;
  ++steps_;
  if (steps_ % kSteps != 0) return 0;
  int64_t span = 0;
  double log_norm = log_norm_;
  double mean_loss = loss_;
  for (std::size_t k = 0; k < kMostLevels; ++k) {
    if (k == levels_.size()) {
      levels_.emplace_back();
      levels_.back().highest_loss = -kMost;
    }
    Level& level = levels_[k];
    push(level.log_norms, log_norm);
    push(level.losses, mean_loss);
    if (mean_loss > level.highest_loss) level.highest_loss = mean_loss;
    const int64_t windows = windows_of(steps_, k);
    if (span == 0 && windows >= kWindows && grows(level, ratio, blind_ratio)) {
      span = (kWindows * kSteps) << k;
    }
    if (windows % 2 != 0) break;
    log_norm = mean_of_last_two(level.log_norms);
    mean_loss = mean_of_last_two(level.losses);
  }
  return span;
}

void GrowthTrend::clear() {
  steps_ = 0;
  log_norm_ = 0;
  loss_ = 0;
  levels_.clear();
}

std::vector<double> GrowthTrend::state() const {
  std::vector<double> state;
  if (steps_ == 0) return state;
  state.reserve(kHead + kNumbersOfLevel * levels_.size());
  state = {static_cast<double>(steps_), log_norm_, loss_};
  for (const Level& level : levels_) {
    state.insert(state.end(), level.log_norms.begin(), level.log_norms.end());
    state.insert(state.end(), level.losses.begin(), level.losses.end());
    state.push_back(level.highest_loss);
  }
  return state;
}

void GrowthTrend::restore(const std::vector<double>& state) {
  GrowthTrend read;
  if (!state.empty()) {
    constexpr double kMostSteps = 0x1p53;
    const double steps = state.front();
    detail::check_option(
        steps >= 1 && steps <= kMostSteps && steps == std::floor(steps),
        kGrowthTrend,
        "the first number of a state",
        "a count of steps",
        steps);
    read.steps_ = static_cast<int64_t>(steps);
    std::size_t levels = 0;
    while (levels < kMostLevels && windows_of(read.steps_, levels) > 0) {
      ++levels;
    }
    detail::check_option(
        state.size() == kHead + kNumbersOfLevel * levels,
        kGrowthTrend,
        "the numbers of a state after so many steps",
        std::to_string(kHead + kNumbersOfLevel * levels),
        static_cast<int64_t>(state.size()));
    read.log_norm_ = state[1];
    read.loss_ = state[2];
    read.levels_.resize(levels);
    bool finite = std::isfinite(read.log_norm_) && !std::isinf(read.loss_);
    auto next = state.begin() + kHead;
    for (Level& level : read.levels_) {
      std::copy_n(next, kWindows, level.log_norms.begin());
      std::copy_n(next + kWindows, kWindows, level.losses.begin());
      level.highest_loss = *(next + 2 * kWindows);
      next += kNumbersOfLevel;
      // A loss may be unknown.
      for (int i = 0; i < kWindows; ++i) {
        finite = finite && std::isfinite(level.log_norms[i]) &&
                 !std::isinf(level.losses[i]);
      }
      finite = finite && std::isfinite(level.highest_loss);
    }
    TORCH_CHECK(finite, kGrowthTrend, ": a number of a state is not finite");
  }
  *this = std::move(read);
}

}  // namespace stepsize
