#pragma once

#include <csignal>

namespace stepsize::trainer {

/// While one lives, Ctrl-C (SIGINT) and SIGTERM do not end the program: they
/// are noted. Each does so once, and does then what it does by default, so that
/// a second Ctrl-C ends the program at once. Only one may live at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// The signal that came last; 0: none has.
  int received() const;

 private:
  struct sigaction interrupt_before_ = {};
  struct sigaction terminate_before_ = {};
};

}  // namespace stepsize::trainer
