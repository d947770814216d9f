#include <stepsize/adaptive/schedule_free_evaluation.h>

#include <ATen/Functions.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>

#include <exception>

#include "csrc/adaptive/schedule_free_point.h"

namespace stepsize {

ScheduleFreeEvaluation::ScheduleFreeEvaluation(ScheduleFreeOptimizer& optimizer)
    : optimizer_(optimizer) {
  if (!optimizer.is_training()) return;
  const c10::AutoGradMode no_grad(false);
  for (const auto& point : optimizer.points()) {
    kept_.emplace_back(point.parameter, point.parameter.clone());
  }
  try {
    optimizer.eval();
  } catch (...) {
    put_back();
    throw;
  }
  active_ = true;
}

void ScheduleFreeEvaluation::put_back() {
  const c10::AutoGradMode no_grad(false);
  for (auto& [parameter, held] : kept_) parameter.copy_(held);
}

ScheduleFreeEvaluation::~ScheduleFreeEvaluation() {
  if (!active_ || optimizer_.is_training()) return;
  try {
    put_back();
    optimizer_.training_ = true;
  } catch (const std::exception& error) {
    TORCH_WARN(
        "ScheduleFreeEvaluation: not everything could be put back: ",
        error.what());
  }
}

}  // namespace stepsize
