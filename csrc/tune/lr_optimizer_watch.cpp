#include "csrc/tune/lr_optimizer_watch.h"

#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_sgd.h>

namespace stepsize::detail {
namespace {

void skip_non_finite(torch::optim::OptimizerOptions& options) {
  if (auto* sgd = dynamic_cast<ClippedSGDOptions*>(&options)) {
    sgd->non_finite(NonFiniteGradient::kSkip);
  } else if (auto* adamw = dynamic_cast<ClippedAdamWOptions*>(&options)) {
    adamw->non_finite(NonFiniteGradient::kSkip);
  }
}

}  // namespace

bool takes_graph(const torch::optim::Optimizer& optimizer) {
  return dynamic_cast<const PowerMethodSGD*>(&optimizer) != nullptr;
}

OptimizerWatch::OptimizerWatch(torch::optim::Optimizer& optimizer)
    : clipped_(dynamic_cast<const ClippedOptimizer*>(&optimizer)),
      power_(dynamic_cast<const PowerMethodSGD*>(&optimizer)),
      rollback_(dynamic_cast<const RollbackSGD*>(&optimizer)),
      skipped_before_(skipped()) {
  if (clipped_ == nullptr) return;
  for (auto& group : optimizer.param_groups()) {
    skip_non_finite(group.options());
  }
}

int64_t OptimizerWatch::skipped() const {
  if (clipped_ != nullptr) return clipped_->skipped_steps();
  return power_ != nullptr ? power_->skipped_steps() : 0;
}

LRRangeStatus OptimizerWatch::look(std::string& reason) {
  if (skipped() != skipped_before_) {
    reason =
        "the optimizer skipped a step, whose gradient or curvature was not "
        "finite";
    return LRRangeStatus::kNonFinite;
  }
  if (rollback_ == nullptr) return LRRangeStatus::kFinished;
  switch (rollback_->last_status()) {
    case RollbackStatus::kNonFinite:
      reason = "the gradient was not finite";
      return LRRangeStatus::kNonFinite;
    case RollbackStatus::kRolledBack:
    case RollbackStatus::kGaveUp:
      reason = "the optimizer took steps back";
      return LRRangeStatus::kDiverged;
    default:
      return LRRangeStatus::kFinished;
  }
}

}  // namespace stepsize::detail
