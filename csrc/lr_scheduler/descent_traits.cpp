#include "csrc/lr_scheduler/descent_traits.h"

#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/optim/sgd.h>

namespace stepsize::detail {
namespace {

template <typename Options>
DescentTraits traits_of(const Options& options) {
  return {options.momentum(), options.nesterov(), options.weight_decay()};
}

}  // namespace

DescentTraits descent_traits(const torch::optim::OptimizerOptions& options) {
  using torch::optim::SGDOptions;
  if (const auto* sgd = dynamic_cast<const SGDOptions*>(&options)) {
    return traits_of(*sgd);
  }
  if (const auto* sgd = dynamic_cast<const ClippedSGDOptions*>(&options)) {
    auto traits = traits_of(*sgd);
    if (sgd->decoupled_weight_decay()) {
      traits.coupled_decay = 0;
    }
    return traits;
  }
  if (const auto* sgd = dynamic_cast<const RollbackSGDOptions*>(&options)) {
    return traits_of(*sgd);
  }
  return {};
}

}  // namespace stepsize::detail
