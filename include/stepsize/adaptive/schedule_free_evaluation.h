#pragma once

#include <stepsize/adaptive/schedule_free_optimizer.h>

#include <utility>
#include <vector>

namespace stepsize {

/// Has the parameters of a Schedule-Free optimizer hold their mean x while it
/// lives, and then puts back bit for bit what they held, also when an exception
/// ends it: an evaluation leaves no trace in the run.
///
///     {
///       ScheduleFreeEvaluation guard(optimizer);
///       ...
///     }
///
/// In an optimizer that is in eval mode already, and where train() has been
/// called in between, it does nothing. Cost: one copy of the parameters while
/// it lives. Nothing may be loaded into them then.
class ScheduleFreeEvaluation {
 public:
  /// Throws what eval() throws.
  explicit ScheduleFreeEvaluation(ScheduleFreeOptimizer& optimizer);
  ~ScheduleFreeEvaluation();
  ScheduleFreeEvaluation(const ScheduleFreeEvaluation&) = delete;
  ScheduleFreeEvaluation& operator=(const ScheduleFreeEvaluation&) = delete;

 private:
  void put_back();

  ScheduleFreeOptimizer& optimizer_;
  /// Parameters and what they held.
  std::vector<std::pair<at::Tensor, at::Tensor>> kept_;
  bool active_ = false;
};

}  // namespace stepsize
