#include <stepsize/optim/z_clip.h>

#include <c10/util/Exception.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace stepsize {
namespace {

// Where all norms so far were alike the deviation is 0; the authors' own.
constexpr double kLeastDeviation = 1e-6;

}  // namespace

const OptionList<ZClipOptions>& ZClipOptions::option_list() {
  static const auto list =
      OptionList<ZClipOptions>("ZClip")
          .option(STEPSIZE_OPTION(alpha))
          .share()
          .option(STEPSIZE_OPTION(z_thresh))
          .must_be(
              "finite and > 0",
              [](double value) { return std::isfinite(value) && value > 0; })
          .option(STEPSIZE_OPTION(warmup_steps))
          .at_least(1)
          .option(STEPSIZE_OPTION(max_norm))
          .must_be("> 0", [](double value) { return value > 0; });
  return list;
}

double ZClip::mean() const {
  return seen_ >= options().warmup_steps()
             ? mean_
             : std::numeric_limits<double>::quiet_NaN();
}

double ZClip::variance() const {
  return seen_ >= options().warmup_steps()
             ? spread_
             : std::numeric_limits<double>::quiet_NaN();
}

ClippedGradients ZClip::clip(const ClipInput& input) {
  const double norm = input.norm;
  double left = norm;
  if (seen_ < options().warmup_steps()) {
    // Welford's way to mean and squared distances.
    ++seen_;
    const double away = norm - mean_;
    mean_ += away / static_cast<double>(seen_);
    spread_ += away * (norm - mean_);
    if (seen_ == options().warmup_steps()) {
      spread_ /= static_cast<double>(seen_);
    }
  } else {
    const double deviation = std::sqrt(spread_);
    const double z = (norm - mean_) / (deviation + kLeastDeviation);
    const double most = options().z_thresh();
    if (z > most) left = mean_ + most * deviation / (z / most);
    const double alpha = options().alpha();
    mean_ = alpha * mean_ + (1 - alpha) * left;
    const double away = left - mean_;
    spread_ = alpha * spread_ + (1 - alpha) * away * away;
  }
  const double target = std::min(left, options().max_norm());
  return {input.gradients, norm > target ? target / norm : 1};
}

std::vector<double> ZClip::state() const {
  return {static_cast<double>(seen_), mean_, spread_};
}

void ZClip::restore(const std::vector<double>& state) {
  TORCH_CHECK(
      state.size() == 3 && state[0] >= 0 &&
          state[0] <= static_cast<double>(options().warmup_steps()) &&
          state[0] == std::floor(state[0]) && std::isfinite(state[1]) &&
          state[1] >= 0 && std::isfinite(state[2]) && state[2] >= 0,
      "ZClip: this is no state of that rule");
  seen_ = static_cast<int64_t>(state[0]);
  mean_ = state[1];
  spread_ = state[2];
}

}  // namespace stepsize
