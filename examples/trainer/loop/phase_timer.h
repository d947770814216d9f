#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

namespace stepsize::trainer {

/// What a run spends its time on.
enum class Phase : std::uint8_t {
  kInput,     ///< gathering a batch for training
  kForward,   ///< network and loss
  kBackward,  ///< gradients
  kUpdate,    ///< optimizer and schedule
  kMonitor,   ///< measuring curvature, where that is asked for
  kLog,       ///< reading the loss, files, progress
  kTest,      ///< the test after each epoch, its input included
};

/// Adds up the time between calls of enter(), phase by phase.
///
/// On an accelerator work goes on after a call has returned: times are those
/// of the work only if `wait`, called at every change of phase, waits for it.
class PhaseTimer {
 public:
  explicit PhaseTimer(void (*wait)() = nullptr) : wait_(wait) {}

  /// Ends the phase that is on, if any, and starts this one.
  void enter(Phase phase);
  /// Ends the phase that is on.
  void stop();

  double seconds(Phase phase) const;
  /// Lines for a person: each phase's seconds and share of an update (the
  /// test, which is no part of one, in seconds only).
  std::vector<std::string> report() const;

 private:
  using Clock = std::chrono::steady_clock;

  void (*wait_)();
  bool on_ = false;
  Phase phase_ = Phase::kInput;
  Clock::time_point start_;
  std::array<double, 7> seconds_{};
};

}  // namespace stepsize::trainer
