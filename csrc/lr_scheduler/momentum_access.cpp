#include <stepsize/lr_scheduler/momentum_access.h>

#include <stepsize/state/optimizer_traits.h>

namespace stepsize {

using torch::optim::OptimizerOptions;

std::optional<double> MomentumAccess::get(
    const OptimizerOptions& options) const {
  if (get_) {
    const std::optional<double> momentum = get_(options);
    if (momentum) return momentum;
  }
  const OptimizerTraits* const traits = find_traits(options);
  if (traits == nullptr) return std::nullopt;
  return traits->options().get(options, OptionRole::kMomentum);
}

void MomentumAccess::set(OptimizerOptions& options, double value) const {
  if (get_ && get_(options)) {
    set_(options, value);
  } else if (const OptimizerTraits* const traits = find_traits(options)) {
    traits->options().set(options, OptionRole::kMomentum, value);
  }
}

}  // namespace stepsize
