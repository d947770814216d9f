#include "examples/trainer/loop/phase_timer.h"

#include <cstdio>

namespace stepsize::trainer {
namespace {

constexpr std::array<const char*, 7> kNames{
    "input", "forward", "backward", "update", "monitor", "log", "test"};

}  // namespace

void PhaseTimer::enter(Phase phase) {
  stop();
  phase_ = phase;
  start_ = Clock::now();
  on_ = true;
}

void PhaseTimer::stop() {
  if (!on_) {
    return;
  }
  if (wait_ != nullptr) {
    wait_();
  }
  seconds_[static_cast<std::size_t>(phase_)] +=
      std::chrono::duration<double>(Clock::now() - start_).count();
  on_ = false;
}

double PhaseTimer::seconds(Phase phase) const {
  return seconds_[static_cast<std::size_t>(phase)];
}

std::vector<std::string> PhaseTimer::report() const {
  double updates = 0;
  for (const double seconds : seconds_) {
    updates += seconds;
  }
  updates -= seconds(Phase::kTest);
  std::vector<std::string> lines;
  for (std::size_t i = 0; i < seconds_.size(); ++i) {
    // Most runs watch nothing.
    if (static_cast<Phase>(i) == Phase::kMonitor && seconds_[i] == 0) {
      continue;
    }
    char text[64];
    if (static_cast<Phase>(i) == Phase::kTest) {
      std::snprintf(text, sizeof text, "%-8s %8.2f s", kNames[i], seconds_[i]);
    } else {
      std::snprintf(
          text,
          sizeof text,
          "%-8s %8.2f s %6.2f%%",
          kNames[i],
          seconds_[i],
          updates > 0 ? 100 * seconds_[i] / updates : 0.0);
    }
    lines.emplace_back(text);
  }
  return lines;
}

}  // namespace stepsize::trainer
