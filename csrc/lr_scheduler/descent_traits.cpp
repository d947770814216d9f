#include "csrc/lr_scheduler/descent_traits.h"

#include <c10/util/Exception.h>
#include <stepsize/optim/clipped_adamw.h>
#include <stepsize/optim/clipped_sgd.h>
#include <stepsize/optim/power_method_sgd.h>
#include <stepsize/optim/rollback_sgd.h>
#include <torch/optim/adagrad.h>
#include <torch/optim/adam.h>
#include <torch/optim/adamw.h>
#include <torch/optim/lbfgs.h>
#include <torch/optim/rmsprop.h>
#include <torch/optim/sgd.h>

namespace stepsize::detail {
namespace {

template <typename Options>
DescentTraits traits_of(const Options& options) {
  return {
      options.momentum(),
      options.momentum() != 0 ? options.dampening() : 0,
      options.nesterov(),
      options.weight_decay()};
}

constexpr char kScales[] =
    "it scales the gradient by coordinate, and the limit of its rate is not "
    "that of the Hessian";

template <typename Refused>
void check_is_not(
    const char* kind,
    const torch::optim::Optimizer& optimizer,
    const char* name,
    const char* reason) {
  TORCH_CHECK(
      dynamic_cast<const Refused*>(&optimizer) == nullptr,
      kind,
      ": cannot set the rate of ",
      name,
      ": ",
      reason);
}

}  // namespace

void check_descends(
    const char* kind, const torch::optim::Optimizer& optimizer) {
  using namespace torch::optim;  // NOLINT: five optimizers
  check_is_not<Adam>(kind, optimizer, "torch::optim::Adam", kScales);
  check_is_not<AdamW>(kind, optimizer, "torch::optim::AdamW", kScales);
  check_is_not<RMSprop>(kind, optimizer, "torch::optim::RMSprop", kScales);
  check_is_not<Adagrad>(kind, optimizer, "torch::optim::Adagrad", kScales);
  check_is_not<ClippedAdamW>(kind, optimizer, "ClippedAdamW", kScales);
  check_is_not<LBFGS>(
      kind,
      optimizer,
      "torch::optim::LBFGS",
      "it estimates the inverse Hessian itself, and its rate of 1 is a full "
      "step of that");
  check_is_not<PowerMethodSGD>(
      kind,
      optimizer,
      "PowerMethodSGD",
      "it measures the curvature itself, and its lr is a factor of that rate");
}

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
