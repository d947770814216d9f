#include <stepsize/lr_scheduler/momentum_access.h>

#include <stepsize/optim/momentum_options.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

#include <tuple>

namespace stepsize {

using torch::optim::AdamOptions;
using torch::optim::AdamWOptions;
using torch::optim::OptimizerOptions;
using torch::optim::RMSpropOptions;
using torch::optim::SGDOptions;

std::optional<double> MomentumAccess::get(
    const OptimizerOptions& options) const {
  if (get_) {
    const std::optional<double> momentum = get_(options);
    if (momentum) return momentum;
  }
  if (const auto* own = dynamic_cast<const MomentumOptions*>(&options)) {
    return own->cycled_momentum();
  }
  if (const auto* sgd = dynamic_cast<const SGDOptions*>(&options)) {
    return sgd->momentum();
  }
  if (const auto* adam = dynamic_cast<const AdamOptions*>(&options)) {
    return std::get<0>(adam->betas());
  }
  if (const auto* adamw = dynamic_cast<const AdamWOptions*>(&options)) {
    return std::get<0>(adamw->betas());
  }
  if (const auto* rmsprop = dynamic_cast<const RMSpropOptions*>(&options)) {
    return rmsprop->momentum();
  }
  return std::nullopt;
}

void MomentumAccess::set(OptimizerOptions& options, double value) const {
  if (get_ && get_(options)) {
    set_(options, value);
  } else if (auto* own = dynamic_cast<MomentumOptions*>(&options)) {
    own->set_cycled_momentum(value);
  } else if (auto* sgd = dynamic_cast<SGDOptions*>(&options)) {
    sgd->momentum(value);
  } else if (auto* adam = dynamic_cast<AdamOptions*>(&options)) {
    std::get<0>(adam->betas()) = value;
  } else if (auto* adamw = dynamic_cast<AdamWOptions*>(&options)) {
    std::get<0>(adamw->betas()) = value;
  } else if (auto* rmsprop = dynamic_cast<RMSpropOptions*>(&options)) {
    rmsprop->momentum(value);
  }
}

}  // namespace stepsize
