#include "csrc/tune/lr_optimizer_watch.h"

namespace stepsize::detail {

bool takes_graph(const torch::optim::Optimizer& optimizer) {
  const OptimizerTraits* const traits = find_traits(optimizer);
  return traits != nullptr && traits->wants_graph();
}

OptimizerWatch::OptimizerWatch(torch::optim::Optimizer& optimizer)
    : optimizer_(&optimizer), traits_(find_traits(optimizer)) {
  if (traits_ == nullptr) return;
  for (auto& group : optimizer.param_groups()) {
    traits_->options().set(group.options(), OptionRole::kNonFinite, 0);
  }
  skipped_before_ = count(traits_->skipped_steps());
  back_before_ = count(traits_->steps_back());
}

int64_t OptimizerWatch::count(const OptimizerTraits::Count& of) const {
  return of ? of(*optimizer_) : 0;
}

LRRangeStatus OptimizerWatch::look(std::string& reason) {
  if (traits_ == nullptr) return LRRangeStatus::kFinished;
  if (count(traits_->skipped_steps()) != skipped_before_) {
    reason =
        "the optimizer skipped a step, whose gradient or curvature was not "
        "finite";
    return LRRangeStatus::kNonFinite;
  }
  if (count(traits_->steps_back()) != back_before_) {
    reason = "the optimizer took steps back";
    return LRRangeStatus::kDiverged;
  }
  return LRRangeStatus::kFinished;
}

}  // namespace stepsize::detail
